// The scenario editor: what is written is checked while it is written; a fault is shown with its line.

import { say, send, sentence, tell, uuid } from "./common.js";

const DRAFT = "lis.scenario";
const at = (id) => document.getElementById(id);
const form = at("order");
let turn = 0;
let timer = 0;
let key = uuid();

const texts = () => [...form.querySelectorAll("textarea")];
const kind = () => form.elements.kind.value;

function order() {
  const written = texts().map((one) => one.value).filter((text) => text.trim());
  const values = Object.fromEntries(new FormData(form));
  return {
    kind: kind(),
    scenario: written[0] ?? "",
    against: kind() === "simulate" ? written.slice(1, 4) : [],
    replications: Number(values.replications),
    seed: Number(values.seed),
    ...(kind() === "plan" ? { target_hours: Number(values.target_hours), percentile: Number(values.percentile) } : {}),
  };
}

function verdict(kind_, text) {
  at("verdict").className = `checked ${kind_}`;
  at("verdict").textContent = text;
  at("play").disabled = kind_ !== "good";
}

/** Bring the line of a fault into sight and mark it. */
function point(problem) {
  const line = Number(problem.line);
  if (!line) return;
  const field = texts().find((one) => one.dataset.faulty) ?? texts()[0];
  const rows = field.value.split("\n");
  const start = rows.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  field.setSelectionRange(start, start + rows[line - 1].length);
  field.scrollTop = Math.max(0, (line - 6) * (field.scrollHeight / rows.length));
}

async function check() {
  const mine = ++turn;
  verdict("", say("scenario_checking"));
  try {
    const { status, data } = await send("/api/v1/simulations/check", order(), uuid());
    if (mine !== turn) return;
    if (status < 300) {
      const said = data.scenarios.map((one) => say("scenario_good", { name: one.name, tubes: one.tubes, days: one.days }));
      verdict("good", `✓ ${said.join("\n")}`);
    } else {
      const where = data.line ? say("scenario_line", { line: data.line }) : "";
      verdict("bad", `✕ ${where}${sentence(data)}`);
      at("verdict").dataset.line = data.line ?? "";
    }
  } catch {
    if (mine === turn) verdict("bad", `✕ ${say("no_answer_read")}`);
  }
}

function later() {
  key = uuid();
  clearTimeout(timer);
  at("play").disabled = true;
  timer = setTimeout(check, 400);
}

function fit() {
  for (const part of form.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== kind();
  texts().forEach((one, number) => (one.closest(".one").hidden = number > 0 && kind() !== "simulate"));
}

function addText(text) {
  const fresh = form.querySelector(".one").cloneNode(true);
  fresh.querySelector("textarea").value = text;
  at("another").parentElement.before(fresh);
  at("another").disabled = texts().length >= 4;
}

form.addEventListener("input", (event) => {
  fit();
  if (event.target.tagName === "TEXTAREA") sessionStorage.setItem(DRAFT, JSON.stringify(texts().map((one) => one.value)));
  if (event.target.id !== "shipped") later();
});
at("take").addEventListener("click", async () => {
  const answer = await fetch(`/api/v1/scenarios/${encodeURIComponent(at("shipped").value)}`);
  const data = await answer.json();
  if (!answer.ok) return tell("bad", sentence(data));
  const field = texts().includes(document.activeElement) ? document.activeElement : texts()[0];
  field.focus();
  field.select();
  // As if it were typed: Ctrl-Z brings back what stood there.
  if (!document.execCommand("insertText", false, data.text)) field.value = data.text;
  later();
});
at("another").addEventListener("click", () => {
  addText(texts()[0].value);
  texts().at(-1).focus();
  later();
});
at("verdict").addEventListener("click", () => {
  texts()[0].focus();
  point({ line: at("verdict").dataset.line });
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  at("play").disabled = true;
  try {
    const { status, data } = await send("/api/v1/simulations", order(), key);
    if (status < 300) return location.assign(`/capacity/simulations/${data.id}`);
    tell("bad", sentence(data));
  } catch {
    tell("bad", say("no_answer"));
  }
  at("play").disabled = false;
});
fit();
check();
