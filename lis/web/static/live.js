// The curves of a plate that is still running: drawn anew whenever the news say that it was read.
// Nothing here is a result; when the file of the run arrives the page shows what was read.

import { chinese, say } from "./common.js";

const WIDTH = 640, HEIGHT = 300, LEFT = 46, BOTTOM = 26, TOP = 8;
const SVG = "http://www.w3.org/2000/svg";
const card = document.getElementById("live");
const plate = card.dataset.plate;
let shown = null, dye = "", chosen = "", log = false, asking = false, again = false;

function make(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function wellName(place, size) {
  const columns = size === 96 ? 12 : 24;
  return `${String.fromCharCode(65 + Math.floor(place / columns))}${(place % columns) + 1}`;
}

/** The loudest word any virus target of a well has: rising, then open, then quiet. The internal control should rise. */
function wordOf(well) {
  const virus = Object.values(shown.targets ?? {}).filter((one) => !one.control).map((one) => one.name);
  const words = virus.map((name) => shown.outlook?.[well]?.[name]);
  return ["rising", "open", "quiet"].find((one) => words.includes(one)) ?? "";
}

/** What the curve of a well in the dye shown looks like. */
function curveOf(well) {
  return shown.outlook?.[well]?.[shown.targets?.[dye]?.name] ?? "";
}

/** What a well looks like, in words. */
function said(word) {
  return { rising: say("live_rising"), open: say("live_open"), quiet: say("live_quiet") }[word];
}

function niceStep(most) {
  const rough = most / 4, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
}

function draw() {
  const svg = card.querySelector("svg");
  const curves = shown.curves[dye] ?? [];
  const cycles = shown.cycles ?? shown.cycle;
  const values = curves.flatMap((one) => one ?? []).filter((one) => one !== null);
  // Noise alone never fills the screen: the server says how high the scale is at least.
  const span = shown.spans[dye] ?? 0;
  const most = Math.max(Math.max(...values, 1e-9) * 1.05, span);
  const floor = log ? Math.max(most / 1e4, span / 50) : Math.min(0, ...values);
  const x = (cycle) => LEFT + ((cycle - 1) / Math.max(cycles - 1, 1)) * (WIDTH - LEFT - 8);
  const share = (value) => log ? Math.log(Math.max(value, floor) / floor) / Math.log(most / floor) : (value - floor) / (most - floor);
  const y = (value) => HEIGHT - BOTTOM - share(value) * (HEIGHT - BOTTOM - TOP);
  svg.replaceChildren();
  const ticks = log ? [0, 1, 2, 3].map((n) => most / 10 ** n).filter((one) => one >= floor) : Array.from({ length: 5 }, (_, n) => n * niceStep(most)).filter((one) => one <= most);
  for (const tick of ticks) {
    svg.append(make("line", { x1: LEFT, x2: WIDTH - 8, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(make("text", { x: LEFT - 5, y: y(tick) + 4, class: "tick y" }, Number(tick.toPrecision(2)).toString()));
  }
  for (let cycle = 5; cycle <= cycles; cycle += 5) svg.append(make("text", { x: x(cycle), y: HEIGHT - 8, class: "tick" }, `${cycle}`));
  svg.append(make("line", { x1: x(shown.cycle), x2: x(shown.cycle), y1: TOP, y2: HEIGHT - BOTTOM, class: "now" }));
  const last = [];
  curves.forEach((curve, place) => {
    if (!curve) return;
    const well = wellName(place, shown.size), word = curveOf(well);
    const points = curve.map((value, i) => (value === null ? "" : `${x(i + 1).toFixed(1)},${y(value).toFixed(1)}`)).filter(Boolean).join(" ");
    const line = make("polyline", { points, class: `curve ${word}${well === chosen ? " chosen" : ""}`, "data-well": well });
    line.append(make("title", {}, `${well}${word ? ` · ${said(word)}` : ""}`));
    (word === "rising" || well === chosen ? last : { push: (one) => svg.append(one) }).push(line);
  });
  svg.append(...last); // what rises lies on top
}

function mark() {
  for (const group of document.querySelectorAll("svg.plate [data-well]")) {
    const word = wordOf(group.dataset.well);
    group.classList.remove("seems-rising", "seems-quiet", "seems-open", "looked-at");
    if (word) group.classList.add(`seems-${word}`);
    if (group.dataset.well === chosen) group.classList.add("looked-at");
  }
}

function tell() {
  const at = (name) => card.querySelector(`[data-live="${name}"]`);
  at("cycle").textContent = say("live_cycle", { cycle: shown.cycle, cycles: shown.cycles ?? "?" });
  const ends = shown.ends_at ? new Date(shown.ends_at) : null;
  at("ends").textContent = ends ? say("live_ends", { time: ends.toLocaleTimeString(chinese ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit", timeZone: card.dataset.zone }) }) : "";
  const nexts = shown.nexts ?? {}, seen = Object.values(nexts).reduce((sum, one) => sum + one, 0);
  at("nexts").textContent = seen
    ? say("live_nexts", { conclude: nexts.conclude ?? 0, retest: nexts.retest ?? 0, singly: nexts["test-singly"] ?? 0, recollect: nexts.recollect ?? 0, open: shown.open })
    : (shown.cycle < 25 ? say("live_early") : say("live_unclear"));
  at("failing").hidden = !shown.failing?.length;
  at("failing").textContent = shown.failing?.length ? `✕ ${say("live_failing", { wells: shown.failing.join(", ") })}` : "";
  const dyes = card.querySelector(".dyes");
  dyes.replaceChildren(...Object.keys(shown.curves).map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = shown.targets?.[name] ? `${name} · ${shown.targets[name].name}` : name;
    button.setAttribute("aria-pressed", String(name === dye));
    button.addEventListener("click", () => { dye = name; tell(); draw(); });
    return button;
  }));
  card.querySelector('[data-live="log"]').setAttribute("aria-pressed", String(log));
}

async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const answer = await fetch(`/api/v1/plates/${plate}/live`, { credentials: "same-origin", headers: { Accept: "application/json" } });
    if (answer.ok) {
      shown = await answer.json();
      if (!(dye in shown.curves)) dye = Object.keys(shown.curves)[0];
      card.hidden = false;
      tell(); draw(); mark();
    }
  } catch { /* away for a moment; the next news ask again */ }
  asking = false;
  if (again) { again = false; refresh(); }
}

card.querySelector('[data-live="log"]').addEventListener("click", () => { log = !log; tell(); draw(); });
for (const group of document.querySelectorAll("svg.plate [data-well]")) {
  group.addEventListener("pointerenter", () => { chosen = group.dataset.well; if (shown) { draw(); mark(); } });
  group.addEventListener("pointerleave", () => { chosen = ""; if (shown) { draw(); mark(); } });
}

const news = new EventSource("/api/v1/live");
news.addEventListener("open", refresh);
news.addEventListener("everything", refresh);
news.addEventListener("reads", (event) => { if (JSON.parse(event.data).plate === plate) refresh(); });
news.addEventListener("file", (event) => { if (JSON.parse(event.data).plate === plate) location.reload(); });
window.addEventListener("pagehide", () => news.close());
document.addEventListener("lis:user", () => location.reload()); // the stream ended when the screen was locked
