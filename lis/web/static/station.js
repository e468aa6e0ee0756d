// The scan station. A scan is taken from the field at Enter, put into the browser's store under an
// identity of its own, and sent until the server has said what became of it. Nothing depends on the
// server being there when the tube is scanned, and no scan is typed behind another.

import { account, say, send, sentence, uuid } from "./common.js";

const PREFIX = `lis.scan.${account}.`;
const COUNTS = `lis.counts.${account}`;
const SHAPES = {
  received: '<circle cx="24" cy="24" r="22"/><path class="in" d="M13 25l8 8 15-17"/>',
  repeat: '<circle cx="24" cy="24" r="22"/><path class="in" d="M13 20h22M13 28h22"/>',
  held: '<path d="M24 2 47 45H1z"/><path class="in" d="M24 17v13M24 36v3"/>',
  refused: '<path d="M15 2h18l13 13v18L33 46H15L2 33V15z"/><path class="in" d="M15 15l18 18M33 15 15 33"/>',
  pending: '<circle cx="24" cy="24" r="22"/><path class="in" d="M24 11v13l9 6"/>',
};
const MARKS = { received: "✓", repeat: "=", held: "▲", refused: "✕", pending: "…" };
const ROWS = "ABCDEFGH";

const at = (id) => document.getElementById(id);
const field = at("scan");
let counts = JSON.parse(localStorage.getItem(COUNTS) ?? "null") ?? { received: 0, repeat: 0, held: 0, refused: 0 };
let typed = "";
let throughIme = false;
let sending = false;
let pause = 0;
let blocked = false;

function waiting() {
  return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX)).sort();
}

function draw() {
  for (const [name, value] of Object.entries(counts)) at(`count-${name}`).textContent = value;
  at("count-pending").textContent = waiting().length;
}

function banner(kind, title, text) {
  const result = at("result");
  result.className = `result ${kind}`;
  result.querySelector("svg").innerHTML = SHAPES[kind];
  result.querySelector("b").textContent = title;
  result.querySelector("p").textContent = text;
}

function list(id, kind, scan, text) {
  at("nothing").hidden = true;
  let item = at(`scan-${id}`);
  if (!item) {
    item = document.createElement("li");
    item.id = `scan-${id}`;
    at("recent").prepend(item);
    while (at("recent").children.length > 60) at("recent").lastElementChild.remove();
  }
  item.className = kind;
  const mark = document.createElement("i");
  mark.textContent = MARKS[kind];
  const code = document.createElement("a");
  code.className = "code";
  code.href = `/tubes/${encodeURIComponent(scan.barcode)}`;
  code.textContent = scan.barcode;
  const place = document.createElement("b");
  place.textContent = [scan.rack, scan.position].filter(Boolean).join(" · ");
  const said = document.createElement("span");
  said.textContent = text;
  item.replaceChildren(mark, code, place, said);
}

function take() {
  const code = (throughIme ? typed : field.value).trim();
  field.value = "";
  typed = "";
  throughIme = false;
  if (!code) return;
  const scan = { barcode: code.slice(0, 200), rack: at("rack").value.trim(), position: at("position").value.trim() };
  const id = uuid();
  localStorage.setItem(`${PREFIX}${String(Date.now()).padStart(15, "0")}.${id}`, JSON.stringify({ id, scan }));
  list(id, "pending", scan, say("pending"));
  if (!blocked) banner("pending", scan.barcode, say("pending"));
  if (at("step").checked) at("position").value = following(scan.position);
  draw();
  drain();
}

/** The next place of a rack of 96, row by row; empty after the last one. */
function following(position) {
  const found = /^([A-H])(\d{1,2})$/i.exec(position);
  if (!found) return position;
  const row = ROWS.indexOf(found[1].toUpperCase());
  const column = Number(found[2]);
  if (column < 12) return `${ROWS[row]}${column + 1}`;
  return row < 7 ? `${ROWS[row + 1]}1` : "";
}

function settle(name, id, scan, kind, title, text) {
  localStorage.removeItem(name);
  counts[kind] += 1;
  localStorage.setItem(COUNTS, JSON.stringify(counts));
  list(id, kind, scan, text);
  if (kind === "held" || kind === "refused") block();
  else if (blocked) return;
  banner(kind, `${title}  ${scan.barcode}`, text);
}

function block() {
  blocked = true;
  at("acknowledge").hidden = false;
}

function link(kind, text) {
  at("link").className = `link ${kind}`;
  at("link").textContent = text;
}

/** Send the oldest scan; true when its fate is known. */
async function sendOne(name) {
  const { id, scan } = JSON.parse(localStorage.getItem(name));
  const { status, data } = await send("/api/v1/receipts", scan, id, 10);
  if (status === 401 || data.code === "CSRF") {
    link("bad", say("signed_out"));
    return false;
  }
  if (status === 429 || status >= 500) throw new Error(String(status));
  link("ok", say("online"));
  if (status >= 300) {
    settle(name, id, scan, "refused", say("refused"), sentence(data));
    return true;
  }
  const one = data.scans[0];
  const text = say("language") === "zh" ? one.sentence_zh : one.sentence;
  settle(name, id, { ...scan, barcode: one.barcode || scan.barcode }, one.outcome, say(one.outcome), text);
  return true;
}

async function drain() {
  if (sending) return;
  sending = true;
  try {
    for (let names = waiting(); names.length; names = waiting()) {
      if (!(await sendOne(names[0]))) break;
      pause = 0;
      draw();
    }
  } catch {
    link("bad", say("offline", { n: waiting().length }));
    pause = Math.min(pause ? pause * 2 : 0.5, 5);
    setTimeout(drain, pause * 1000);
  } finally {
    sending = false;
    draw();
  }
}

/** What a key would have typed, whatever the input method makes of it. */
function plain(event) {
  const found = /^(?:Digit|Numpad)(\d)$|^Key([A-Z])$/.exec(event.code);
  return found ? (found[1] ?? found[2]) : "";
}

field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.code === "Enter" || event.code === "NumpadEnter" || event.key === "Tab") {
    if (event.key === "Tab" && !field.value && !typed) return;
    event.preventDefault();
    take();
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.isComposing || event.keyCode === 229) throughIme = true;
  typed += plain(event);
});

document.addEventListener("keydown", (event) => {
  const inField = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if (!inField && event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) field.focus();
});

at("acknowledge").addEventListener("click", () => {
  blocked = false;
  at("acknowledge").hidden = true;
  const result = at("result");
  result.className = "result idle";
  result.querySelector("b").textContent = say("ready");
  result.querySelector("p").textContent = say("ready_do");
  field.focus();
});
at("restart").addEventListener("click", () => {
  counts = { received: 0, repeat: 0, held: 0, refused: 0 };
  localStorage.setItem(COUNTS, JSON.stringify(counts));
  at("recent").replaceChildren();
  at("nothing").hidden = false;
  draw();
  field.focus();
});
for (const name of ["rack", "position"]) {
  at(name).value = sessionStorage.getItem(`lis.${name}`) ?? "";
  at(name).addEventListener("change", () => sessionStorage.setItem(`lis.${name}`, at(name).value));
  at(name).addEventListener("keydown", (event) => {
    if (event.key === "Enter") field.focus();
  });
}
window.addEventListener("beforeunload", (event) => {
  if (waiting().length) event.preventDefault();
});
window.addEventListener("online", drain);

for (const name of waiting()) {
  const { id, scan } = JSON.parse(localStorage.getItem(name));
  list(id, "pending", scan, say("pending"));
}
draw();
drain();
field.focus();
