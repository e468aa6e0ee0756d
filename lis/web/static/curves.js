// The amplification curves of a run that was read, beside the map of its plate. What is looked at on the one
// is shown on the other. Loaded when it comes into sight, so that a page with many runs opens at once.

import { say } from "./common.js";
import "./maps.js";

const WIDTH = 640, HEIGHT = 250, LEFT = 52, RIGHT = 8, BOTTOM = 24, TOP = 10;
const SVG = "http://www.w3.org/2000/svg";
const kept = new Map(); // address -> the answer, shared by the views of one page

function make(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function ask(address, as) {
  if (!kept.has(address)) {
    const asked = fetch(address, { credentials: "same-origin", headers: { Accept: as } }).then((answer) => {
      if (!answer.ok) throw new Error(String(answer.status));
      return as === "text/html" ? answer.text() : answer.json();
    });
    asked.catch(() => kept.delete(address));
    kept.set(address, asked);
  }
  return kept.get(address);
}

function niceStep(most) {
  const rough = most / 4, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
}

/** Places on the chart; logarithmic from a ten-thousandth of the highest value. */
function scales(run, log) {
  let most = 1e-9, least = 0, cycles = 2;
  for (const curve of Object.values(run.curves)) {
    cycles = Math.max(cycles, curve.length);
    for (const value of curve) { if (value > most) most = value; if (value < least) least = value; }
  }
  most *= 1.05;
  const floor = log ? most / 1e4 : Math.max(least, -most / 4);
  const share = (value) => log ? Math.log(Math.max(value, floor) / floor) / Math.log(most / floor) : (Math.max(value, floor) - floor) / (most - floor);
  const last = run.first + cycles - 1;
  const ticks = log ? [1, 10, 100, 1000].map((n) => most / n) : Array.from({ length: 6 }, (_, n) => n * niceStep(most)).filter((one) => one <= most);
  return {
    last, ticks,
    x: (cycle) => LEFT + ((cycle - run.first) / (last - run.first)) * (WIDTH - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - share(value) * (HEIGHT - BOTTOM - TOP),
  };
}

function axes(svg, run, { x, y, ticks, last }) {
  for (const tick of ticks) {
    svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(make("text", { x: LEFT - 5, y: y(tick) + 4, class: "tick y" }, Number(tick.toPrecision(2)).toString()));
  }
  for (let cycle = 5 * Math.ceil(run.first / 5); cycle <= last; cycle += 5) svg.append(make("text", { x: x(cycle), y: HEIGHT - 7, class: "tick" }, `${cycle}`));
  if (run.threshold !== null) {
    svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(run.threshold), y2: y(run.threshold), class: "threshold" }));
    svg.append(make("text", { x: WIDTH - RIGHT - 2, y: y(run.threshold) - 4, class: "tick y" }, say("curve_threshold", { value: Number(run.threshold.toPrecision(3)) })));
  }
}

const kindOf = (run, well) => {
  const tube = run.called[well]?.[run.target]?.tube ?? "";
  return /^(NTC|PC|EC)/.test(tube) ? "control" : run.called[well]?.[run.target]?.cq === null ? "flat" : "up";
};

const number = (value) => value === null || value === undefined ? "–" : value.toFixed(2);

class View {
  constructor(box) {
    this.box = box;
    this.svg = box.querySelector("svg.curves");
    this.own = (box.dataset.wells || "").split(",").filter(Boolean);
    this.log = false;
    this.looked = "";
    this.lines = new Map();
    box.querySelector("[data-log]").addEventListener("click", () => { this.log = !this.log; this.draw(); });
    box.addEventListener("well:look", (event) => this.look(event.detail));
    this.svg.addEventListener("pointerover", (event) => this.look(event.target.dataset?.well ?? ""));
    this.svg.addEventListener("pointerleave", () => this.look(""));
  }

  async open() {
    if (this.box.dataset.map) this.map();
    await this.show("");
  }

  async map() {
    try {
      const text = await ask(this.box.dataset.map, "text/html");
      const held = document.createElement("template");
      held.innerHTML = text;
      this.box.querySelector(".mapbox").replaceChildren(held.content.cloneNode(true));
    } catch { /* the curves say that the server is away */ }
  }

  async show(target) {
    const said = this.box.querySelector("[data-said]");
    try {
      this.run = await ask(`/api/v1/runs/${this.box.dataset.run}/curves?target=${encodeURIComponent(target)}`, "application/json");
    } catch {
      said.textContent = say("curve_away");
      return;
    }
    this.buttons();
    this.draw();
    for (const cell of document.querySelectorAll(`[data-own^="${CSS.escape(this.box.dataset.run)}|"]`)) {
      const [, well, name] = cell.dataset.own.split("|"), found = this.run.called[well]?.[name];
      if (!found) continue;
      cell.textContent = number(found.own);
      const doubt = !["agrees", "unchecked"].includes(found.verdict);
      cell.classList.toggle("bad", doubt);
      if (doubt) cell.append(" ▲");
    }
  }

  buttons() {
    this.box.querySelector(".dyes").replaceChildren(...this.run.targets.map(({ name, control }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "ghost";
      button.textContent = control ? say("curve_internal", { target: name }) : name;
      button.setAttribute("aria-pressed", String(name === this.run.target));
      button.addEventListener("click", () => this.show(name));
      return button;
    }));
  }

  draw() {
    const run = this.run, svg = this.svg, wells = Object.keys(run.curves);
    this.box.querySelector("[data-log]").setAttribute("aria-pressed", String(this.log));
    svg.replaceChildren();
    this.lines.clear();
    if (!wells.length) {
      this.box.querySelector("[data-said]").textContent = say("curve_none");
      this.box.querySelector(".tools").hidden = true;
      svg.setAttribute("hidden", "");
      return;
    }
    this.scale = scales(run, this.log);
    axes(svg, run, this.scale);
    const { x, y } = this.scale;
    for (const well of [...wells].sort((a, b) => this.own.includes(a) - this.own.includes(b))) {
      const points = run.curves[well].map((value, i) => `${x(run.first + i).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
      const line = make("polyline", { points, class: `curve ${kindOf(run, well)}${this.own.includes(well) ? " own" : ""}`, "data-well": well });
      this.lines.set(well, line);
      svg.append(line);
    }
    this.marks = svg.appendChild(make("g", { class: "cqs" }));
    this.look(this.looked);
  }

  /** Bring one well to the fore; without one, those that this view is about. */
  look(well) {
    this.looked = well;
    for (const old of this.box.querySelectorAll(".chosen, .looked-at")) old.classList.remove("chosen", "looked-at");
    if (well) this.box.querySelector(`svg.plate [data-well="${CSS.escape(well)}"]`)?.classList.add("looked-at");
    if (!this.run || !this.marks) return;
    this.marks.replaceChildren();
    const shown = well && this.run.called[well] ? [well] : this.own.filter((one) => this.run.called[one]);
    if (well && this.lines.has(well)) {
      this.lines.get(well).classList.add("chosen");
      this.marks.before(this.lines.get(well));
    }
    const sentences = shown.map((one) => this.mark(one));
    this.box.querySelector("[data-said]").textContent = sentences.join(" ") || say("curve_hint");
  }

  mark(well) {
    const found = this.run.called[well][this.run.target] ?? {}, { x } = this.scale;
    for (const [name, value] of [["file", found.cq], ["again", found.own]]) {
      if (value === null || value === undefined) continue;
      this.marks.append(make("line", { x1: x(value), x2: x(value), y1: TOP, y2: HEIGHT - BOTTOM, class: `cq ${name}` }));
    }
    const words = { well, tube: found.tube ?? "", target: this.run.target, file: number(found.cq), again: number(found.own) };
    const doubt = ["agrees", "unchecked", undefined].includes(found.verdict) ? "" : ` ▲ ${say("curve_doubt")}`;
    return say("curve_said", words) + doubt;
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    new View(entry.target).open();
  }
});
for (const box of document.querySelectorAll(".runview[data-run]")) if (box.dataset.run) seen.observe(box);
