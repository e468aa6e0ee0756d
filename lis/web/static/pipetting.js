// Confirms aliquots by scan: first the pool tube, then every tube whose aliquot goes into it. A wrong or
// repeated tube stops the screen until somebody has read why. A scan without an answer is sent again under
// its own key, so that a lost answer is not taken for a second aliquot.

import { chinese, say, send, sentence, uuid } from "./common.js";

const SHAPES = {
  received: '<circle cx="24" cy="24" r="22"/><path class="in" d="M13 25l8 8 15-17"/>',
  refused: '<path d="M15 2h18l13 13v18L33 46H15L2 33V15z"/><path class="in" d="M15 15l18 18M33 15 15 33"/>',
  pending: '<circle cx="24" cy="24" r="22"/><path class="in" d="M24 11v13l9 6"/>',
};
const PAUSE = 1500;
const at = (id) => document.getElementById(id);
const field = at("scan");
let pool = "";
let blocked = false;
let busy = false;

function banner(kind, title, text) {
  const result = at("result");
  result.className = `result ${kind}`;
  result.querySelector("svg").innerHTML = SHAPES[kind];
  result.querySelector("b").textContent = title;
  result.querySelector("p").textContent = text;
}

function stop(title, text) {
  blocked = true;
  at("acknowledge").hidden = false;
  banner("refused", `${say("refused")}  ${title}`, text);
}

function table(code) {
  return [...document.querySelectorAll("table.aliquots")].find((one) => one.dataset.pool === code);
}

function choose(code) {
  const found = table(code);
  if (!found) {
    stop(code, say("not_on_list"));
    return;
  }
  pool = code;
  at("pool").textContent = code;
  at("well").textContent = found.dataset.well;
  for (const one of document.querySelectorAll("table.aliquots")) one.classList.toggle("current", one === found);
  found.scrollIntoView({ block: "nearest" });
  banner("pending", `${found.dataset.well}  ${code}`, say("now_tubes"));
}

function tick(code) {
  const row = [...document.querySelectorAll("tr[data-tube]")].find((one) => one.dataset.tube === code);
  if (!row || row.classList.contains("confirmed")) return;
  row.classList.add("confirmed");
  row.querySelector("i").textContent = "✓";
  at("left").textContent = Number(at("left").textContent) - 1;
}

const wait = () => new Promise((go) => setTimeout(go, PAUSE));

async function answered(body) {
  const key = uuid();
  for (;;) {
    try {
      const found = await send("/api/v1/pools/confirmations", body, key, 10);
      if (found.status !== 429 && found.status < 500) return found;
    } catch {
      // no answer: the same scan again, under the same key
    }
    banner("pending", body.tube, say("scan_waits"));
    await wait();
  }
}

async function confirm(code) {
  if (!pool) {
    stop(code, say("pool_first"));
    return;
  }
  banner("pending", code, say("sending"));
  const { status, data } = await answered({ pool, tube: code });
  if (status >= 300) {
    stop(code, sentence(data));
    return;
  }
  const one = data.scans[0];
  const text = chinese ? one.sentence_zh : one.sentence;
  if (one.outcome !== "confirmed") {
    stop(one.tube || code, text);
    return;
  }
  tick(one.tube);
  banner("received", `${table(one.pool).dataset.well}  ${one.tube}`, text);
}

async function take() {
  const code = field.value.trim().toUpperCase();
  field.value = "";
  if (!code || blocked || busy) return;
  busy = true;
  try {
    if (code.startsWith("L")) choose(code);
    else await confirm(code);
  } finally {
    busy = false;
    field.focus();
  }
}

field?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== "Tab") return;
  if (event.key === "Tab" && !field.value) return;
  event.preventDefault();
  take();
});

at("acknowledge")?.addEventListener("click", () => {
  blocked = false;
  at("acknowledge").hidden = true;
  banner("pending", pool || say("ready"), pool ? say("now_tubes") : say("pool_first"));
  field.focus();
});
field?.focus();
