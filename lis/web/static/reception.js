// Reception: every tube that is scanned is received at the place shown.

import { at, following } from "./board.js";
import { chinese, say } from "./common.js";
import { openStation } from "./station.js";

/** How many sealed tubes are still on their way, as far as this page knows. */
function onWay(change) {
  at("on-way").textContent = Math.max(Number(at("on-way").textContent) + change, 0);
}

const station = openStation({
  name: "reception",
  kinds: ["tube"],
  accept(code) {
    at("tube-kind").hidden = true;
    const scan = { barcode: code, rack: at("rack").value.trim(), position: at("position").value.trim() };
    if (at("step").checked) {
      at("position").value = following(scan.position);
      remember();
    }
    return { path: "/api/v1/receipts", body: scan, code, place: [scan.rack, scan.position].filter(Boolean).join(" · ") };
  },
  fate(data, order) {
    const one = data.scans[0];
    return {
      look: one.outcome,
      code: one.barcode || order.code,
      text: chinese ? one.sentence_zh : one.sentence,
      title: `${say(one.outcome)}  ${one.barcode || order.code}`,
      undo: one.outcome === "received" ? { tube: one.barcode, kind: "Received" } : null,
    };
  },
  undone: () => onWay(1),
  settled(record, _order, _status, data) {
    const one = data.scans?.[0];
    if (record.look === "received") onWay(-1);
    const known = ["single", "mixed"].includes(one?.kind);
    at("tube-kind").hidden = !known;
    if (!known) return;
    at("tube-kind").className = `kind big ${one.kind}`;
    at("tube-kind").textContent = `${one.barcode} · ` + (one.kind === "mixed" ? say("kind_mixed", { n: one.persons, of: one.places }) : say("kind_single"));
  },
});

function remember() {
  for (const name of ["rack", "position"]) sessionStorage.setItem(`lis.${name}`, at(name).value);
  sessionStorage.setItem("lis.step", at("step").checked ? "1" : "");
}

for (const name of ["rack", "position"]) {
  at(name).value = sessionStorage.getItem(`lis.${name}`) ?? "";
  at(name).addEventListener("change", remember);
}
at("step").checked = sessionStorage.getItem("lis.step") === "1";
at("step").addEventListener("change", () => {
  remember();
  station.focus();
});
