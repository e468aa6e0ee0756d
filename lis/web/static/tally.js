// How many scans of this account were good, repeated, held and refused here, and what still waits.

import { at } from "./board.js";
import { say } from "./common.js";

const COUNTED = ["received", "repeat", "held", "refused"];

/** The counters of a station. who: () => account. */
export function tallying(station, queue, who) {
  const name = () => `lis.counts.${station}.${who()}`;
  const kept = () => ({ received: 0, repeat: 0, held: 0, refused: 0, ...JSON.parse(localStorage.getItem(name()) ?? "{}") });

  /** Write only what has changed: text that is set anew is laid out anew. */
  function write(id, text) {
    const shown = at(id);
    if (shown && shown.textContent !== text) shown.textContent = text;
  }

  function elsewhere(others) {
    at("elsewhere").hidden = !others.length;
    if (!others.length) return;
    const stations = { reception: say("at_reception"), collection: say("at_collection"), pooling: say("at_pooling"), plating: say("at_plating"), storage: say("at_storage") };
    const names = [...new Set(others.map((one) => (one.account === who() ? stations[one.station] : one.account)))];
    at("elsewhere").textContent = say("elsewhere", { n: others.length, who: names.join(", ") });
  }

  return {
    count(look, by = 1) {
      const now = kept();
      if (!(look in now)) return;
      now[look] = Math.max(now[look] + by, 0);
      try {
        localStorage.setItem(name(), JSON.stringify(now));
      } catch {
        // a full store is told about where a scan could not be kept
      }
    },
    draw() {
      const now = kept();
      for (const look of COUNTED) {
        write(`count-${look}`, String(now[look]));
        at(`count-${look}`)?.parentElement.classList.toggle("zero", !now[look]);
      }
      const [waiting, others] = queue.split();
      write("count-pending", String(waiting.length));
      at("count-pending").parentElement.classList.toggle("warn", waiting.length > 0);
      elsewhere(others);
    },
    restart: () => localStorage.removeItem(name()),
  };
}
