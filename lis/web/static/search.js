// The search box of every page takes a scan: what an input method or a scanner puts around a code is taken off,
// and a whole code of a tube, a pool or a plate opens its page at once.

import { clean, reader } from "./keys.js";

const field = document.querySelector(".search input");
const keys = reader();
let throughIme = false;

/** The page of a whole code; empty for anything else, which is searched. */
function pageOf(code) {
  if (/^(?:[0-9]{12}|L[0-9]{10})$/.test(code)) return `/tubes/${code}`;
  return /^P[0-9]{8}$/.test(code) ? `/plates/${code}` : "";
}

field?.addEventListener("keydown", (event) => {
  if (event.key === "Tab") return;
  throughIme ||= event.isComposing || event.keyCode === 229;
  const found = keys.press(event, field.value);
  if (!found.taken) return;
  if (found.code === undefined) {
    if (event.ctrlKey) event.preventDefault(); // a control character of the scanner is no command to the browser
    return;
  }
  const page = pageOf(clean(field.value)) || (throughIme && pageOf(found.code));
  throughIme = false;
  if (!page) return; // words, and the beginnings of codes: searched as they are
  event.preventDefault();
  location.assign(page);
});
field?.addEventListener("focus", () => {
  keys.clear();
  throughIme = false;
});
document.addEventListener("keydown", (event) => {
  const writing = event.target instanceof Element && event.target.closest("input, textarea, select");
  if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey || document.getElementById("scan")) return;
  event.preventDefault();
  field?.focus();
});
