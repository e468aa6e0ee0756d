// A whole rack at once. What the rack scanner wrote is pasted, opened as a file, or scanned tube by tube; every
// position shows what is to be said of it, single ones are read again, and one key records all good ones.

import { chinese, say, send, sentence, uuid } from "./common.js";
import { clean, reader } from "./keys.js";
import { signal } from "./signals.js";

const SHAPES = { 24: [4, 6], 48: [6, 8], 96: [8, 12] };
const MARKS = { good: "✓", repeat: "=", unknown: "▲", wrong: "✕", unreadable: "?", double: "2", empty: "", read: "…" };
const BAD = ["unknown", "wrong", "unreadable", "double"];
const WAIT_MS = 250;
const at = (id) => document.getElementById(id);
const field = at("scan");
const page = at("rack-page");
const act = page.dataset.act;
const KEPT = `lis.rack.${act}`;
const keys = reader();
let cells = {}, states = {}, here = "", key = "", timer = 0, asked = 0, recorded = false;

function order() {
  const [rows, columns] = SHAPES[at("size").value];
  const names = [];
  if (at("way").value === "row") for (let r = 0; r < rows; r++) for (let c = 1; c <= columns; c++) names.push(`${String.fromCharCode(65 + r)}${c}`);
  else for (let c = 1; c <= columns; c++) for (let r = 0; r < rows; r++) names.push(`${String.fromCharCode(65 + r)}${c}`);
  return names;
}

function said(look, title, text = "") {
  at("said").className = `said ${look}`;
  at("said").querySelector("b").textContent = title;
  at("said").querySelector("p").textContent = text;
}

function keep() {
  sessionStorage.setItem(KEPT, JSON.stringify({ cells, rack: at("rack").value, size: at("size").value, way: at("way").value, here }));
}

function makeMap() {
  const [rows, columns] = SHAPES[at("size").value];
  const body = at("map").tBodies[0];
  body.replaceChildren();
  const head = body.insertRow();
  head.insertCell();
  for (let c = 1; c <= columns; c++) head.insertCell().textContent = c;
  for (let r = 0; r < rows; r++) {
    const row = body.insertRow();
    row.insertCell().textContent = String.fromCharCode(65 + r);
    for (let c = 1; c <= columns; c++) {
      const cell = row.insertCell();
      cell.dataset.position = `${String.fromCharCode(65 + r)}${c}`;
      const inside = document.createElement("i");
      cell.append(inside, document.createElement("small"));
      cell.addEventListener("click", () => go(cell.dataset.position));
    }
  }
}

function go(position) {
  here = position;
  draw();
  field.focus();
}

function draw() {
  for (const cell of document.querySelectorAll("#map [data-position]")) {
    const place = cell.dataset.position;
    const code = cells[place] ?? "";
    const state = states[place]?.state ?? (code ? "read" : "empty");
    cell.className = place === here ? "here" : "";
    cell.querySelector("i").className = `cell ${state}`;
    cell.querySelector("i").textContent = MARKS[state];
    cell.querySelector("small").textContent = code.slice(-4);
    cell.title = [place, code, states[place] ? (chinese ? states[place].sentence_zh : states[place].sentence) : ""].filter(Boolean).join(" · ");
  }
  at("here").textContent = here;
  const all = order().map((place) => states[place]?.state ?? (cells[place] ? "read" : "empty"));
  for (const one of document.querySelectorAll("[data-count]")) one.textContent = all.filter((state) => state === one.dataset.count).length;
  const good = all.filter((state) => state === "good").length;
  const open = all.includes("read");
  at("good-count").textContent = good || "";
  at("confirm").disabled = !good || open || recorded;
  at("rescan").disabled = !firstBad();
  at("problems").replaceChildren(
    ...order()
      .filter((place) => BAD.includes(states[place]?.state))
      .map((place) => {
        const item = document.createElement("li");
        const [mark, name, text] = ["i", "b", "span"].map((tag) => document.createElement(tag));
        mark.className = `cell ${states[place].state}`;
        mark.textContent = MARKS[states[place].state];
        name.textContent = place;
        text.textContent = (chinese ? states[place].sentence_zh : states[place].sentence) || (states[place].code === "?" ? say("unreadable") : states[place].code);
        item.append(mark, name, text);
        item.addEventListener("click", () => go(place));
        return item;
      }),
  );
  at("no-problems").hidden = at("problems").children.length > 0;
  keep();
}

const firstBad = () => order().find((place) => BAD.includes(states[place]?.state));

function body(extra) {
  const given = order().filter((place) => cells[place]).map((position) => ({ position, code: cells[position] }));
  return { act, rack: at("rack").value.trim(), size: Number(at("size").value), ...(extra ?? { cells: given }) };
}

/** Ask what is to be said of every position; the last question counts. */
async function check(extra = null) {
  const mine = ++asked;
  if (!extra && !Object.values(cells).some(Boolean)) {
    states = {};
    draw();
    return;
  }
  if (!at("rack").value.trim()) {
    said("bad", say("rack_first"));
    at("rack").focus();
    return;
  }
  try {
    const { status, data } = await send("/api/v1/racks/check", body(extra), uuid(), 10);
    if (mine !== asked) return;
    if (status === 401) return said("bad", say("signed_out"));
    if (status >= 500) throw new Error(String(status));
    if (status >= 300) {
      signal("wrong");
      return said("bad", sentence(data));
    }
    learn(data);
    const bad = firstBad();
    if (extra) {
      here = bad ?? here;
      draw();
    }
    const n = data.counts;
    said(bad ? "bad" : "good", say("rack_read", { good: n.good, bad: BAD.reduce((sum, one) => sum + n[one], 0) }), bad ? say("rack_rescan") : say("rack_confirm"));
    if (extra) signal(bad ? "wrong" : "good");
  } catch {
    if (mine === asked) said("wait", say("rack_away"));
    clearTimeout(timer);
    timer = setTimeout(() => mine === asked && check(extra), 1500);
  }
}

function learn(data) {
  states = {};
  for (const one of data.cells) {
    if (one.code) cells[one.position] = one.code;
    else delete cells[one.position];
    states[one.position] = one;
  }
  draw();
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(check, WAIT_MS);
}

/** The next position that still needs a tube: the next wrong one while there are any, else the next free one. */
function onward() {
  const names = order();
  const after = names.slice(names.indexOf(here) + 1);
  here = after.find((place) => !cells[place]) ?? names.find((place) => BAD.includes(states[place]?.state)) ?? here;
}

function put(code) {
  const bad = BAD.includes(states[here]?.state);
  if (recorded && !bad) clear(); // the next rack; a position that was left over may still be read again
  recorded = false;
  cells[here] = code;
  delete states[here];
  key = "";
  if (bad) here = firstBad() ?? here;
  else onward();
  draw();
  later();
}

function blank() {
  delete cells[here];
  delete states[here];
  key = "";
  const names = order();
  here = firstBad() ?? names[Math.min(names.indexOf(here) + 1, names.length - 1)];
  draw();
  later();
  field.focus();
}

function clear() {
  cells = {};
  states = {};
  key = "";
  recorded = false;
  here = order()[0];
  asked += 1;
  clearTimeout(timer);
  draw();
}

function cancel() {
  clear();
  said("idle", say("rack_cancelled"), say("rack_nothing"));
  field.focus();
}

async function confirm() {
  if (at("confirm").disabled) return;
  at("confirm").disabled = true;
  key ||= uuid();
  said("wait", say("sending"));
  try {
    const { status, data } = await send("/api/v1/racks", body(), key, 30);
    if (status === 401) return said("bad", say("signed_out"));
    if (status >= 500) throw new Error(String(status));
    if (status >= 300) {
      key = "";
      signal("wrong");
      said("bad", sentence(data));
      return;
    }
    recorded = true;
    learn(data);
    recorded = true;
    signal(firstBad() ? "repeat" : "good");
    said("good", say("rack_recorded", { n: data.counts.good, rack: data.rack }), firstBad() ? say("rack_left") : say("rack_next"));
    sessionStorage.removeItem(KEPT);
  } catch {
    said("bad", say("no_answer"));
  } finally {
    if (!recorded) draw();
    field.focus();
  }
}

function rescan() {
  const bad = firstBad();
  if (bad) go(bad);
}

function text(words) {
  clear();
  check({ text: words });
}

function move(rows, columns) {
  const [most, wide] = SHAPES[at("size").value];
  const row = here.charCodeAt(0) - 65, column = Number(here.slice(1));
  const to = [Math.min(Math.max(row + rows, 0), most - 1), Math.min(Math.max(column + columns, 1), wide)];
  go(`${String.fromCharCode(65 + to[0])}${to[1]}`);
}

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const FUNCTIONS = { F8: confirm, F7: blank, F2: rescan, F4: () => at("file").click(), Escape: cancel };

field.addEventListener("keydown", (event) => {
  if (ARROWS[event.key] && !keys.text) {
    event.preventDefault();
    move(...ARROWS[event.key]);
    return;
  }
  const step = keys.press(event, field.value);
  if (!step.taken) return;
  event.preventDefault();
  if (step.code === undefined) {
    field.value = keys.text;
    return;
  }
  field.value = "";
  if (step.code) put(step.code);
});
field.addEventListener("input", () => {
  if (keys.text) field.value = keys.text;
});
field.addEventListener("paste", (event) => {
  const words = event.clipboardData?.getData("text") ?? "";
  if (!/[\r\n,;\t]/.test(words.trim())) return;
  event.preventDefault();
  text(words);
});
document.addEventListener("keydown", (event) => {
  const done = FUNCTIONS[event.key] ?? FUNCTIONS[event.code];
  if (done && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    if (!event.repeat) done();
    return;
  }
  const writing = event.target instanceof Element && event.target.closest("input, select, textarea, button");
  if (!writing && event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) field.focus();
});
at("file").addEventListener("change", async () => {
  const [chosen] = at("file").files;
  if (chosen) text(await chosen.text());
  at("file").value = "";
  field.focus();
});
for (const [id, done] of [["confirm", confirm], ["blank", blank], ["rescan", rescan], ["cancel", cancel]]) at(id).addEventListener("click", done);
for (const id of ["size", "way"]) {
  at(id).addEventListener("change", () => {
    makeMap();
    clear();
    field.focus();
  });
}
at("rack").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  at("rack").value = clean(at("rack").value);
  field.focus();
});
at("rack").addEventListener("change", () => {
  if (Object.values(cells).some(Boolean)) later();
  keep();
});
window.addEventListener("beforeunload", (event) => {
  if (Object.values(cells).some(Boolean) && !recorded) event.preventDefault();
});

const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
if (kept) {
  for (const id of ["rack", "size", "way"]) at(id).value = kept[id];
  cells = kept.cells;
}
makeMap();
here = kept?.here || order()[0];
draw();
if (Object.values(cells).some(Boolean)) later();
if (at("rack").value) field.focus();
else at("rack").focus();
