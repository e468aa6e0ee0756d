// Pooling: first the pool tube, then every tube whose aliquot goes into it. A wrong or repeated tube stops the
// screen until somebody has read why; what is scanned meanwhile is not taken, because whoever pipettes must stop.

import { chinese, say } from "./common.js";
import { at, openStation } from "./station.js";

let pool = "";

const table = (code) => document.querySelector(`table.aliquots[data-pool="${CSS.escape(code)}"]`);
const row = (code) => document.querySelector(`tr[data-tube="${CSS.escape(code)}"]`);

function choose(code) {
  const found = table(code);
  if (!found) return { stop: { title: `${say("refused")}  ${code}`, text: say("not_on_list") } };
  pool = code;
  at("pool").textContent = code;
  at("well").textContent = found.dataset.well;
  for (const one of document.querySelectorAll("table.aliquots")) one.classList.toggle("current", one === found);
  found.scrollIntoView({ block: "nearest" });
  station.ready(`${found.dataset.well}  ${code}`, say("now_tubes"), "pending");
  return null;
}

function tick(code, done) {
  const found = row(code);
  if (!found || found.classList.contains("confirmed") === done) return;
  found.classList.toggle("confirmed", done);
  found.querySelector("i").textContent = done ? "✓" : "";
  at("left").textContent = Number(at("left").textContent) + (done ? -1 : 1);
}

const station = at("scan") && openStation({
  name: "pooling",
  kinds: ["tube", "pool"],
  strict: true,
  accept(code, kind) {
    if (kind === "pool") return choose(code);
    if (!pool) return { stop: { title: `${say("refused")}  ${code}`, text: say("pool_first") } };
    const well = table(pool).dataset.well;
    return { path: "/api/v1/pools/confirmations", body: { pool, tube: code }, code, place: well, pool };
  },
  fate(data, order) {
    const one = data.scans[0];
    const good = one.outcome === "confirmed";
    return {
      look: good ? "received" : "refused",
      code: one.tube || order.code,
      text: chinese ? one.sentence_zh : one.sentence,
      title: good ? `${order.place}  ${one.tube}` : `${say("refused")}  ${one.tube || order.code}`,
      undo: good ? { tube: one.pool, kind: "AliquotConfirmed" } : null,
    };
  },
  settled(record) {
    if (record.look === "received") tick(record.code, true);
  },
  undone(record) {
    tick(record.code, false);
  },
});
