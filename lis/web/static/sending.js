// Sends what the queue holds, oldest first, until the server has said what became of each scan.

import { say, send, sentence } from "./common.js";
import { takingTurns } from "./turn.js";

const ANSWER_S = 10;
const LONGEST_S = 5;

/**
 * Returns drain(): send all that waits; again and again while the server is away.
 *   station               {name, fate, refused}, as openStation was given it
 *   known(item, fate, status, data)   what became of a scan
 *   link(look, text)      tells whether the server answers
 *   rested()              nothing more can be sent now
 */
export function sending({ station, queue, tab, known, link, rested }) {
  const inTurn = takingTurns(`lis.scans.${station.name}`, tab);
  let busy = false, again = false, pause = 0, timer = 0;

  /** What an answer means; one that nobody understands must not block the rest. */
  function fateOf(item, status, data) {
    if (status >= 300) return station.refused?.(data, item) || { text: sentence(data) };
    try {
      return station.fate(data, item);
    } catch {
      return { text: say("failed") };
    }
  }

  /** Send one scan; true when its fate is known. */
  async function sendOne(item) {
    const { status, data } = await send(item.path, item.body, item.id, ANSWER_S);
    if (status === 401 || data.code === "CSRF") {
      link("bad", status === 401 ? say("signed_out") : say("page_old"));
      return false;
    }
    if (status === 429 || status >= 500) throw new Error(String(status));
    known(item, fateOf(item, status, data), status, data);
    link("ok", say("online"));
    return true;
  }

  async function sendAll() {
    for (let items = queue.waiting(); items.length; items = queue.waiting()) {
      if (!(await sendOne(items[0]))) return;
      pause = 0;
    }
  }

  return async function drain() {
    again = true;
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      while (again) {
        again = false;
        await inTurn(sendAll);
      }
    } catch {
      link("bad", say("offline", { n: queue.waiting().length }));
      pause = Math.min(pause ? pause * 2 : 0.5, LONGEST_S);
      timer = setTimeout(drain, pause * 1000);
    } finally {
      busy = false;
      rested();
    }
  };
}
