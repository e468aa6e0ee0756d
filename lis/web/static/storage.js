// The store: tubes are put away, taken out for their retest, or destroyed; F2, F3, F4 choose which.

import { chinese, say } from "./common.js";
import { at, following, openStation } from "./station.js";

const LOOKS = { stored: "received", fetched: "received", discarded: "received", repeat: "repeat", refused: "refused" };
const UNDO = { stored: "Stored", fetched: "Fetched" };
let act = "store";

function choose(chosen) {
  const button = document.querySelector(`[data-act="${chosen}"]`);
  if (!button || button.disabled) return;
  act = chosen;
  for (const one of document.querySelectorAll("[data-act]")) one.setAttribute("aria-pressed", String(one.dataset.act === act));
  at("places").hidden = act !== "store";
  at("why").hidden = act !== "discard";
  station.ready({ store: say("store_ready"), fetch: say("fetch_ready"), discard: say("discard_ready") }[act], say("ready_do"));
  station.focus();
}

const station = openStation({
  name: "storage",
  kinds: ["tube", "pool"],
  keys: { F2: () => choose("store"), F3: () => choose("fetch"), F4: () => choose("discard") },
  accept(code) {
    const body = { act, scans: { barcode: code } };
    if (act === "store") {
      body.scans.rack = at("rack").value.trim();
      body.scans.position = at("position").value.trim();
      if (!body.scans.rack) return { stop: { title: `${say("refused")}  ${code}`, text: say("rack_first") } };
      if (at("step").checked) at("position").value = following(body.scans.position);
      remember();
    }
    if (act === "discard") {
      body.reason = at("reason").value.trim();
      if (!body.reason) return { stop: { title: `${say("refused")}  ${code}`, text: say("reason_first") } };
    }
    return { path: "/api/v1/storage/scans", body, code, place: [body.scans.rack, body.scans.position].filter(Boolean).join(" · ") };
  },
  fate(data, order) {
    const one = data.scans[0];
    const look = LOOKS[one.outcome];
    return {
      look,
      code: one.barcode || order.code,
      text: chinese ? one.sentence_zh : one.sentence,
      title: `${look === "received" ? one.barcode : `${say(look)}  ${one.barcode || order.code}`}`,
      undo: UNDO[one.outcome] ? { tube: one.barcode, kind: UNDO[one.outcome] } : null,
    };
  },
  settled(record, order) {
    const row = document.querySelector(`tr[data-tube="${CSS.escape(record.code)}"]`);
    if (row && record.look === "received") row.classList.toggle("confirmed", order.body.act === "fetch");
  },
  undone(record) {
    document.querySelector(`tr[data-tube="${CSS.escape(record.code)}"]`)?.classList.toggle("confirmed", record.undo.kind === "Stored");
  },
});

function remember() {
  for (const name of ["rack", "position"]) sessionStorage.setItem(`lis.store.${name}`, at(name).value);
  sessionStorage.setItem("lis.store.step", at("step").checked ? "1" : "");
}

for (const name of ["rack", "position"]) {
  at(name).value = sessionStorage.getItem(`lis.store.${name}`) ?? "";
  at(name).addEventListener("change", remember);
}
at("step").checked = sessionStorage.getItem("lis.store.step") === "1";
at("step").addEventListener("change", () => {
  remember();
  station.focus();
});
for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => choose(button.dataset.act));
choose("store");
