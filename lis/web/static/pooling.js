// Forms all pools that are proposed, or one that would still fill, on one worklist, and opens it (pressed twice it is
// done once); fetches the advice.

import { say, send, sentence, tell, uuid } from "./common.js";

const button = document.getElementById("form-all");

/** Form the pools of these forms; each button has a key of its own. */
async function formThese(button, forms) {
  button.dataset.key ??= uuid();
  const pools = forms.map((form) => ({
    members: form.elements.members.value.split(" "),
    barcode: form.elements.barcode.value.trim(),
  }));
  button.disabled = true;
  tell("wait", say("sending"));
  try {
    const { status, data } = await send("/api/v1/pools", { pools, confirm: true }, button.dataset.key, 60);
    if (status < 300) location.assign(`/pooling/worklists/${encodeURIComponent(data.worklist)}`);
    else tell("bad", sentence(data));
  } catch {
    tell("bad", say("no_answer"));
  } finally {
    button.disabled = false;
  }
}

/** The advice reads the log of many days: the page is there before it. */
async function fillAdvice() {
  const place = document.getElementById("advice");
  const answer = await fetch(place.dataset.src, { credentials: "same-origin" });
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("advice");
  if (found) place.replaceWith(document.adoptNode(found));
}

button?.addEventListener("click", () => formThese(button, [...document.querySelectorAll("form.pool:not(.short)")]));
for (const one of document.querySelectorAll("[data-short]")) one.addEventListener("click", () => formThese(one, [one.form]));
fillAdvice().catch(() => {}); // the link to the advice stays
