// Loading by scan: first the plate in the hand, then the cycler. Another plate stops at once; the scan of the
// cycler confirms, so that nobody needs a mouse beside the machine.

import { say } from "./common.js";

const form = document.getElementById("load");
const { barcode, instrument } = form?.elements ?? {};
const said = form?.querySelector("[data-said]");

function speak(text, bad = false) {
  said.textContent = text;
  said.classList.toggle("bad", bad);
}

form?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target !== barcode) return;
  event.preventDefault(); // the plate alone confirms nothing
  const code = barcode.value.trim();
  if (!code || event.repeat) return;
  if (code !== form.dataset.plate) {
    speak(`✕ ${say("load_other", { code, plate: form.dataset.plate })}`, true);
    barcode.select();
    return;
  }
  speak(`✓ ${say("load_plate")}`);
  instrument.focus();
});
form?.addEventListener("submit", () => speak(say("load_go")));
