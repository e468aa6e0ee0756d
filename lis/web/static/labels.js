// Printing labels: the order is kept by the server first; then this browser prints, or the printer did.

import { say, send, sentence, tell, uuid } from "./common.js";

const form = document.getElementById("print");
let key = uuid(), body = "";

/** Every label as often as it was ordered, then back to one of each. */
function print(copies) {
  const list = document.querySelector(".labels");
  const extra = [...list.children].flatMap((one) => Array.from({ length: copies - 1 }, () => one.cloneNode(true)));
  list.append(...extra);
  window.addEventListener("afterprint", () => { for (const one of extra) one.remove(); location.assign("/labels"); }, { once: true });
  window.print();
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { codes, printer, copies, reason } = form.elements, button = form.querySelector("button");
  const order = { codes: codes.value.split(" "), printer: printer.value, copies: Number(copies.value), reason: reason?.value.trim() ?? "" };
  if (JSON.stringify(order) !== body) { key = uuid(); body = JSON.stringify(order); }
  button.disabled = true;
  tell("wait", say("sending"));
  try {
    const { status, data } = await send("/api/v1/labels", order, key, 60);
    if (status >= 300) { key = uuid(); return tell("bad", sentence(data)); }
    localStorage.setItem("lis.keep.printer", printer.value);
    if (data.jobs.some((one) => one.state === "waiting")) {
      sessionStorage.setItem("lis.said", JSON.stringify({ kind: "bad", text: say("label_kept") }));
      location.assign("/labels");
    } else if (printer.value === "browser") {
      tell("good", say("done"));
      print(order.copies);
    } else {
      sessionStorage.setItem("lis.said", JSON.stringify({ kind: "good", text: say("done") }));
      location.assign("/labels");
    }
  } catch { tell("bad", say("no_answer")); } finally { button.disabled = false; }
});
