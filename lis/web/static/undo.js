// Takes back the last act of this account at a station that was not taken back yet: a new event, nothing is deleted.

import { list } from "./board.js";
import { say, send, sentence, uuid } from "./common.js";
import { signal } from "./signals.js";

/** Returns undo(). stop(title, text) turns the screen red; undone(record, data) was taken back. */
export function undoing({ queue, stop, undone }) {
  return async function undo() {
    if (queue.waiting().length) return stop(say("refused"), say("undo_pending"));
    const record = queue.done().reverse().find((one) => one.undo && one.look === "received");
    if (!record) return stop(say("refused"), say("undo_none"));
    if (!record.undoKey) queue.amend(Object.assign(record, { undoKey: uuid() }));
    const { tube, kind } = record.undo;
    try {
      const { status, data } = await send(`/api/v1/tubes/${tube}/undo`, { kind }, record.undoKey, 10);
      if (status === 429 || status >= 500) throw new Error(String(status));
      if (status >= 300) {
        if (status < 401 || status > 403) queue.amend({ ...record, undo: null });
        return stop(`${say("refused")}  ${record.code}`, sentence(data));
      }
      const taken = { ...record, look: "undone", text: say("undone") };
      queue.amend(taken);
      list(record.id, "undone", record.code, record.place, taken.text);
      undone(taken, record.text, data);
      signal("repeat");
    } catch {
      stop(say("refused"), say("undo_away"));
    }
  };
}
