// Plating: a tube is scanned, the screen says its well, and the scan confirms it. In order, only the tube of the
// next well is right. A wrong tube stops the screen; what is scanned meanwhile is not taken.

import { at } from "./board.js";
import { chinese, say } from "./common.js";
import { openStation } from "./station.js";

const plate = at("station").dataset.plate;
const wells = JSON.parse(at("wells").textContent); // [{well, tube, confirmed}], in the order of pipetting

const group = (well) => document.querySelector(`svg.plate [data-well="${well}"]`);
const next = () => wells.find((one) => !one.confirmed && !one.sent);

function mark() {
  for (const one of wells) group(one.well)?.classList.toggle("confirmed", Boolean(one.confirmed));
  for (const old of document.querySelectorAll("svg.plate .due")) old.classList.remove("due");
  const due = next();
  if (due) group(due.well)?.classList.add("due");
  at("left").textContent = wells.filter((one) => !one.confirmed).length;
  at("next").textContent = due ? due.well : "—";
  at("next-tube").textContent = due ? due.tube : "";
}

const station = openStation({
  name: "plating",
  kinds: ["tube", "pool"],
  strict: true,
  accept(code) {
    const due = next();
    const path = `/api/v1/plates/${plate}/confirmations`;
    const mine = wells.find((one) => one.tube === code && !one.confirmed && !one.sent);
    const known = wells.some((one) => one.tube === code);
    if (at("order").checked && due && known && mine && mine !== due) {
      return { stop: { title: `${say("refused")}  ${code}`, text: say("not_next", { well: due.well, tube: due.tube, own: mine.well }) } };
    }
    if (!known && station.isAway()) return { stop: { title: `${say("refused")}  ${code}`, text: say("not_on_sheet") } };
    if (mine) mine.sent = true;
    mark();
    return { path, body: { tube: code, well: mine?.well ?? "" }, code, place: mine?.well ?? "", title: `${mine?.well ?? ""}  ${code}` };
  },
  fate(data, order) {
    const one = data.scans[0];
    const look = { confirmed: "received", repeat: "repeat", refused: "refused" }[one.outcome];
    return {
      look,
      code: one.barcode || order.code,
      place: one.well || order.place,
      text: chinese ? one.sentence_zh : one.sentence,
      title: look === "refused" ? `${say("refused")}  ${one.barcode || order.code}` : `${one.well}  ${one.barcode}`,
      undo: look === "received" ? { tube: one.barcode, kind: "WellConfirmed" } : null,
    };
  },
  settled(record, order) {
    const one = wells.find((each) => each.tube === record.code && each.well === (record.place || order.place));
    if (one) {
      one.sent = false;
      one.confirmed ||= record.look === "received" || record.look === "repeat";
    }
    mark();
  },
  undone(record) {
    const one = wells.find((each) => each.tube === record.code && each.well === record.place);
    if (one) one.confirmed = false;
    mark();
  },
});

for (const item of station.waiting()) {
  const one = wells.find((each) => each.tube === item.code && each.well === item.place);
  if (one) one.sent = true;
}
at("order").checked = localStorage.getItem("lis.order") === "1";
at("order").addEventListener("change", () => {
  localStorage.setItem("lis.order", at("order").checked ? "1" : "");
  station.focus();
});
mark();
