// The next plate before it is made: tubes are moved, swapped, taken out and put in by keys and by scan. What
// is made is what is shown. The server checks every change and refuses what the rules refuse.

import { say, send, sentence, tell, uuid } from "./common.js";
import { enter, wellOf } from "./maps.js";

const box = document.getElementById("fill");
const form = document.getElementById("make");
const SVG = "http://www.w3.org/2000/svg";

/** The controls that a plate needs: those of batches in use, an EC only where something is extracted. */
export function controlsFor(tubes, controls, batchOf) {
  const used = new Set([1]), extracted = new Set();
  for (const [well, { rna }] of tubes) {
    used.add(batchOf(well));
    if (!rna) extracted.add(batchOf(well));
  }
  return controls.filter(({ kind, batch }) => (kind === "EC" ? extracted : used).has(batch));
}

function start() {
  const proposal = JSON.parse(box.querySelector("[data-proposal]").textContent);
  const map = box.querySelector("svg.plate"), said = box.querySelector("[data-said]");
  const kept = new Map(proposal.controls.map((one) => [one.well, one]));
  const batchOf = (well) => proposal.size === 96 ? 1 : 1 + 2 * ((well.charCodeAt(0) - 65) % 2) + ((Number(well.slice(1)) - 1) % 2);
  let tubes = new Map(proposal.wells.filter((one) => one.tube).map((one) => [one.well, { tube: one.tube, rna: one.rna, kind: one.kind }]));
  let held = "", undo = [], asked = 0;
  const group = (well) => map.querySelector(`[data-well="${well}"]`);
  const speak = (text, bad = false) => { said.textContent = text; said.classList.toggle("bad", bad); };

  function paint(well) {
    const one = tubes.get(well), control = needed.get(well), place = group(well);
    const shape = proposal.shapes[one ? one.kind : control ? "control" : "empty"];
    const letter = control && !one ? control.kind : shape.letter;
    const title = document.createElementNS(SVG, "title"), path = document.createElementNS(SVG, "path");
    title.textContent = `${well}: ${one ? one.tube : control ? control.kind : say("fill_empty")}`;
    for (const [key, value] of [["d", shape.path], ["fill", shape.fill]]) path.setAttribute(key, value);
    if (!one && !control) path.setAttribute("stroke", "#b4c1c8");
    place.replaceChildren(title, path);
    place.setAttribute("aria-label", title.textContent);
    if (!letter) return;
    const text = document.createElementNS(SVG, "text");
    const half = (proposal.size === 96 ? 38 : 18) / 2;
    for (const [key, value] of [["x", half], ["y", shape.lower], ["fill", shape.ink]]) text.setAttribute(key, value);
    if (letter.length > 2) text.setAttribute("font-size", proposal.size === 96 ? 12 : 7);
    text.textContent = letter;
    place.append(text);
  }

  let needed = new Map();
  function show() {
    needed = new Map(controlsFor(tubes, proposal.controls, batchOf).map((one) => [one.well, one]));
    for (const place of map.querySelectorAll("[data-well]")) paint(place.dataset.well);
    const at = new Map([...tubes].map(([well, one]) => [one.tube, well]));
    for (const item of box.querySelectorAll("[data-tube]")) {
      const well = at.get(item.dataset.tube);
      item.querySelector("[data-at]").textContent = well ?? "—";
      item.classList.toggle("out", !well);
    }
    form.querySelector("button.main").textContent = say("fill_make", { n: tubes.size });
    form.querySelector("button.main").disabled = !tubes.size;
  }

  const order = () => [
    ...[...tubes].map(([well, { tube, rna }]) => ({ well, tube, rna })),
    ...[...needed.values()].map(({ well, kind }) => ({ well, control: kind })),
  ];
  const plate = () => ({ template: proposal.template, assay: proposal.assay, wells: order() });

  async function check(done) {
    const turn = ++asked;
    speak(done);
    if (!tubes.size) return;
    try {
      const { status, data } = await send("/api/v1/plates/check", plate(), uuid());
      if (turn === asked) speak(status < 300 ? `✓ ${done}` : `✕ ${sentence(data)}`, status >= 300);
    } catch { if (turn === asked) speak(`${done} ${say("no_answer")}`, true); }
  }

  function change(next, done) {
    undo.push(tubes);
    tubes = next;
    show();
    check(done);
  }

  function mark(well) {
    group(held)?.classList.remove("held");
    held = well;
    group(held)?.classList.add("held");
  }

  function pick(well) {
    if (kept.has(well)) return speak(`✕ ${say("fill_control", { well })}`, true);
    if (!held) {
      if (!tubes.has(well)) return speak(say("fill_nothing", { well }));
      mark(well);
      return speak(say("fill_held", { tube: tubes.get(well).tube, well }));
    }
    const from = held, next = new Map(tubes), one = next.get(from), other = next.get(well);
    mark("");
    if (from === well) return speak(say("fill_back", { well }));
    next.delete(from);
    if (other) next.set(from, other);
    next.set(well, one);
    change(next, other ? say("fill_swapped", { tube: one.tube, from, well }) : say("fill_moved", { tube: one.tube, from, well }));
  }

  function take(well) {
    if (!tubes.has(well)) return speak(say("fill_nothing", { well }));
    const next = new Map(tubes), { tube } = next.get(well);
    next.delete(well);
    mark("");
    change(next, say("fill_out", { tube, well }));
  }

  map.addEventListener("keydown", (event) => {
    const well = wellOf(event.target)?.dataset.well;
    if (!well || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " || event.key === "Enter") pick(well);
    else if (event.key === "Delete" || event.key === "Backspace") take(well);
    else if (event.key === "Escape") mark("");
    else if (event.code === "KeyZ") {
      if (!undo.length) return;
      mark("");
      tubes = undo.pop();
      show();
      check(say("fill_undone"));
    } else if (/^[0-9L]$/i.test(event.key)) return put.elements.tube.focus(); // a scan begins: the key goes into the box
    else return;
    event.preventDefault();
  });
  map.addEventListener("click", (event) => {
    const well = wellOf(event.target)?.dataset.well;
    if (well) { enter(map, well); pick(well); }
  });

  const put = box.querySelector("[data-put]");
  put.addEventListener("submit", async (event) => {
    event.preventDefault();
    const code = put.elements.tube.value.trim();
    if (!code) return;
    put.elements.tube.value = "";
    const there = [...tubes].find(([, one]) => one.tube === code)?.[0];
    if (there) { enter(map, there); return speak(say("fill_there", { tube: code, well: there })); }
    try {
      const asking = `/api/v1/plates/candidate?tube=${encodeURIComponent(code)}&assay=${encodeURIComponent(proposal.assay)}`;
      const answer = await fetch(asking, { credentials: "same-origin", headers: { Accept: "application/json" } });
      const data = await answer.json();
      if (!answer.ok) return speak(`✕ ${sentence(data)}`, true);
      const chosen = map.querySelector('[tabindex="0"]').dataset.well;
      const free = proposal.order.filter((well) => !tubes.has(well) && !kept.has(well));
      const well = free.includes(chosen) ? chosen : free[0];
      if (!well) return speak(`✕ ${say("fill_full")}`, true);
      change(new Map([...tubes, [well, { tube: data.tube, rna: data.rna, kind: data.kind }]]), say("fill_in", { tube: data.tube, well }));
    } catch { speak(say("no_answer"), true); }
  });

  let key = uuid(), body = "";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.main"), fields = [...form.elements].filter((one) => one.name && one.value.trim());
    const sent = { ...plate(), ...Object.fromEntries(fields.map((one) => [one.name, one.value.trim()])) };
    if (JSON.stringify(sent) !== body) { key = uuid(); body = JSON.stringify(sent); }
    button.disabled = true;
    tell("wait", say("sending"));
    try {
      const { status, data } = await send("/api/v1/plates", sent, key, 60);
      if (status >= 300) { key = uuid(); return tell("bad", sentence(data)); }
      for (const one of form.querySelectorAll("[data-keep]")) localStorage.setItem(`lis.keep.${one.dataset.keep}`, one.value);
      location.assign(`/plates/${encodeURIComponent(data.plate_id)}`);
    } catch { tell("bad", say("no_answer")); } finally { button.disabled = false; }
  });

  show();
}

if (box && form) start();
