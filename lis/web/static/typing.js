// Where keys go at a station: into the scan box, wherever the focus is, unless somebody writes in another field.

import { clean, judge, reader } from "./keys.js";

const PAUSE_MS = 30;

const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;

/**
 * Listen to the keys of a station. Returns {clear()}: forget what was typed so far.
 *   field       the scan box; patterns: what codes look like
 *   functions   key -> what it does;  asleep() -> true while keys do nothing
 *   take(code)  a whole code was typed; pasted(text) -> true if somebody dealt with it; focus()
 */
export function typing({ field, patterns, functions, asleep, take, pasted, focus }) {
  const keys = reader();
  inTheBox({ field, keys, take, pasted });
  elsewhere({ field, keys, functions, asleep, take, focus });
  for (const beside of document.querySelectorAll("input[data-beside]")) alongside({ beside, patterns, take, focus });
  return { clear: keys.clear };
}

/**
 * Shows what was typed so far when the typing pauses: hands do, scanners do not. A box that is written at every key
 * is laid out and painted at every key, and the answer to the scan has to wait for that.
 */
function showing(field, keys) {
  let due = 0;
  function write() {
    clearTimeout(due);
    due = 0;
    if (field.value !== keys.text) field.value = keys.text;
  }
  return {
    later() {
      clearTimeout(due);
      due = setTimeout(write, PAUSE_MS);
    },
    now() {
      if (due) write();
    },
  };
}

function inTheBox({ field, keys, take, pasted }) {
  const box = showing(field, keys);
  field.addEventListener("keydown", (event) => {
    const step = keys.press(event, field.value);
    if (!step.taken) return;
    event.preventDefault();
    event.stopPropagation();
    if (step.code !== undefined) take(step.code);
    else box.later();
  });
  field.addEventListener("input", () => {
    if (keys.text) field.value = keys.text; // what an input method made of the keys is not shown
  });
  field.addEventListener("compositionend", () => {
    field.value = keys.text;
  });
  field.addEventListener("blur", () => {
    box.now();
    keys.clear();
  });
  field.addEventListener("paste", (event) => {
    const lines = (event.clipboardData?.getData("text") ?? "").split(/[\r\n]+/).filter(Boolean);
    if (pasted?.(lines.join("\n"))) event.preventDefault();
    else if (lines.length > 1) {
      event.preventDefault();
      for (const line of lines) take(line);
    }
  });
}

function elsewhere({ field, keys, functions, asleep, take, focus }) {
  document.addEventListener("keydown", (event) => {
    const act = functions[event.key] ?? functions[event.code]; // an input method hides the key, not its place
    if (act && plain(event)) {
      event.preventDefault();
      if (!asleep() && !event.repeat) act();
      return;
    }
    const inField = event.target instanceof Element && event.target.closest("textarea, select, input:not([type=checkbox], [type=radio], [type=file])");
    if (inField || !plain(event)) return;
    // A scanner that types while no box has the focus, or a button has: the scan box takes it.
    const forButton = !keys.text && ["Enter", " ", "Tab"].includes(event.key);
    const step = forButton ? {} : keys.press(event, field.value);
    if (!step.taken) return;
    event.preventDefault();
    if (step.code !== undefined) take(step.code);
    else {
      const typed = keys.text;
      focus();
      field.value = typed;
    }
  });
}

/** A tube scanned while the rack, the place or the reason has the focus is a scan all the same. */
function alongside({ beside, patterns, take, focus }) {
  beside.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    const code = /(?:L[0-9]{10}|[0-9]{12})$/.exec(clean(beside.value))?.[0] ?? "";
    const isScan = ["tube", "pool"].includes(judge(code, patterns).kind);
    if (isScan) beside.value = beside.value.trim().slice(0, -code.length).trim() || (beside.dataset.was ?? "");
    beside.dataset.was = beside.value;
    beside.dispatchEvent(new Event("change"));
    focus();
    if (isScan) take(code);
  });
  beside.addEventListener("focus", () => {
    beside.dataset.was = beside.value;
    beside.select();
  });
}
