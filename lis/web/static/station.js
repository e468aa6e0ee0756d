// The engine of every scan station. A scan is taken from the keys, kept in the browser's store, sent and shown, and
// sent again until the server has said what became of it. What a code means at a station is told by that station's
// own module; see openStation. Nothing here depends on the server being there when a tube is scanned.

import { at, banner, link, list, shownCode } from "./board.js";
import { account, say, uuid } from "./common.js";
import { clean, judge } from "./keys.js";
import { makeQueue, StoreFull, tabName } from "./queue.js";
import { sending } from "./sending.js";
import { mute, muted, signal } from "./signals.js";
import { tallying } from "./tally.js";
import { typing } from "./typing.js";
import { undoing } from "./undo.js";

// An answer mostly comes before this; to paint "kept here" first would only delay it.
const PENDING_MS = 50;
const SOUND = { received: "good", repeat: "repeat", held: "wrong", refused: "wrong" };

/** Why a code is none: the sentence for who scanned it. */
function wrongCode(code, shown, wrong) {
  if (wrong === "merged") return say("code_merged", { n: code.length });
  if (wrong === "check") return say("code_check", { code: shown });
  return /[^\x20-\x7e]/.test(code) ? say("code_ime", { code: shown }) : say("code_shape", { code: shown });
}

/**
 * Open the station of this page. config:
 *   name       which queue its scans go into
 *   kinds      kinds of code that it takes (tube, pool, plate, person); any other is wrong at once
 *   strict     while something wrong is on the screen, further scans are refused, not kept for later
 *   accept(code, kind) -> null (dealt with), {stop: {title, text}}, or an order {path, body, code, place, info}
 *   fate(data, order) -> {look, code, text, title, undo: {tube, kind}} of an answer that is no refusal
 *   settled(fate, order, status, data) after the fate is known; keys: {F8: function}
 */
export function openStation(config) {
  const field = at("scan");
  const patterns = JSON.parse(at("patterns").textContent);
  const tab = tabName(uuid);
  const who = () => document.querySelector('meta[name="account"]')?.content || account;
  const queue = makeQueue({ station: config.name, me: who, uuid, tab });
  const { count, draw, restart } = tallying(config.name, queue, who);
  const drain = sending({ station: config, queue, tab, known, link, rested: draw });
  const undo = undoing({ queue, stop, undone });
  let blocked = false, locked = false;
  let unshown = [], upcoming = ""; // kept and sent, not on the screen yet; what the large answer will say of the last
  let idle = { title: at("result").querySelector("b").textContent, text: at("result").querySelector("p").textContent };

  function focus() {
    if (!locked) field.focus({ preventScroll: true });
  }

  function stop(title, text, look = "refused") {
    blocked = true;
    at("acknowledge").hidden = false;
    banner(look, title, text);
    signal("wrong");
  }

  function acknowledge() {
    if (!blocked) return;
    blocked = false;
    at("acknowledge").hidden = true;
    banner("idle", idle.title, idle.text);
    config.acknowledged?.();
    focus();
  }

  /** Show what became of a scan and remember it. */
  function show(record, title) {
    unshown = unshown.filter((one) => one.id !== record.id);
    showPending(); // what was scanned before stands below
    upcoming = "";
    list(record.id, record.look, record.code, record.place, record.text);
    if (record.look === "refused" || record.look === "held") stop(title, record.text, record.look);
    else if (!blocked) {
      banner(record.look, title, record.text);
      signal(SOUND[record.look]);
    }
    draw();
  }

  function settle(item, fate) {
    const { title, ...kept } = { look: "refused", place: item.place ?? "", code: item.code, text: "", ...fate };
    const record = queue.settle(item, item.private ? { ...kept, text: "" } : kept);
    record.text = kept.text; // words about a person are shown and not kept
    count(record.look);
    if (item.tab === tab) show(record, title ?? `${say(record.look)}  ${record.code}`);
    else draw();
    return record;
  }

  function known(item, fate, status, data) {
    config.settled?.(settle(item, fate), item, status, data);
  }

  /** A scan that is refused here and never sent: it too has its place in the list and in the count. */
  function refuse(code, text, title = `${say("refused")}  ${code}`) {
    settle({ id: uuid(), tab, account: who(), code, name: "" }, { look: "refused", text, title });
  }

  /** A whole code. */
  function take(raw) {
    const code = clean(raw);
    const shown = shownCode(code);
    if (field.value) field.value = "";
    if (!code || locked) return;
    if (blocked && config.strict) {
      refuse(shown, say("not_taken"));
      return;
    }
    const found = judge(code, patterns);
    if (found.wrong) {
      refuse(shown || "—", wrongCode(code, shown || "—", found.wrong));
      return;
    }
    if (config.kinds && !config.kinds.includes(found.kind)) {
      refuse(shown, say("code_kind", { code: shown }));
      return;
    }
    const order = config.accept(code, found.kind);
    if (order?.stop) refuse(shown, order.stop.text, order.stop.title);
    else if (order) enqueue(order);
  }

  /** Keep an order and send it when its turn has come; false if it could not be kept. */
  function enqueue(order) {
    let item;
    try {
      item = queue.add(order);
    } catch (error) {
      if (!(error instanceof StoreFull)) throw error;
      refuse(order.code, say("store_full"));
      return false;
    }
    drain();
    if (blocked) signal("wrong"); // kept all the same; the ear is told that something still waits for the eye
    unshown.push(item);
    upcoming = order.title ?? item.code;
    setTimeout(showPending, PENDING_MS);
    return true;
  }

  /** Show what is kept and not answered yet. */
  function showPending() {
    if (!unshown.length) return;
    for (const item of unshown.splice(0)) list(item.id, "pending", item.code, item.place, say("pending"));
    if (upcoming && !blocked) banner("pending", upcoming, say("pending"));
    upcoming = "";
    draw();
  }

  function undone(taken, text, data) {
    count("received", -1);
    if (!blocked) banner("undone", `${say("undone")}  ${taken.code}`, text);
    config.undone?.(taken, data);
    draw();
  }

  function hush() {
    mute(!muted());
    at("mute").setAttribute("aria-pressed", String(muted()));
    if (!muted()) signal("good");
  }

  function reload() {
    at("recent").replaceChildren();
    unshown = [];
    for (const record of queue.done()) list(record.id, record.look, record.code, record.place, record.text);
    for (const item of queue.waiting()) list(item.id, "pending", item.code, item.place, say("pending"));
    at("nothing").hidden = at("recent").children.length > 0;
    draw();
  }

  const keys = typing({
    field, patterns, take, focus,
    functions: { Escape: acknowledge, F9: undo, F6: hush, ...config.keys },
    asleep: () => locked,
    pasted: config.pasted,
  });
  at("acknowledge").addEventListener("click", acknowledge);
  at("undo")?.addEventListener("click", () => undo().finally(focus));
  at("mute").addEventListener("click", () => {
    hush();
    focus();
  });
  at("mute").setAttribute("aria-pressed", String(muted()));
  at("restart").addEventListener("click", () => {
    restart();
    queue.forget();
    reload();
    focus();
  });
  window.addEventListener("beforeunload", (event) => {
    if (queue.waiting().length) event.preventDefault();
  });
  window.addEventListener("online", drain);
  window.addEventListener("focus", focus);
  window.addEventListener("storage", (event) => {
    if (queue.isDone(event.key) && event.newValue) {
      const record = JSON.parse(event.newValue); // another tab sent what was scanned here
      if (record.tab === tab && at(`scan-${record.id}`)?.className === "pending") show(record, `${say(record.look)}  ${record.code}`);
    }
    draw();
  });
  document.addEventListener("lis:lock", () => {
    locked = true;
    field.disabled = true;
    keys.clear();
  });
  document.addEventListener("lis:user", (event) => {
    // The scans of the one who left stay with that account; they are sent when that person signs in again.
    // For another person the page is loaded anew, unless somebody says that this is not needed.
    for (const name of ["account", "csrf"]) {
      const value = event.detail?.[name];
      if (value) document.querySelector(`meta[name="${name}"]`)?.setAttribute("content", value);
    }
    locked = false;
    field.disabled = false;
    reload();
    drain();
    focus();
  });

  reload();
  drain();
  focus();
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});

  return {
    enqueue,
    refuse,
    take,
    stop,
    acknowledge,
    focus,
    banner: (look, title, text) => blocked || banner(look, title, text),
    /** What is shown when nothing is wrong and nothing was just scanned; softly, it does not wipe an answer away. */
    ready(title, text, look = "idle", softly = false) {
      idle = { title, text };
      if (!blocked) upcoming = "";
      const answered = ["received", "repeat", "undone"].some((one) => at("result").classList.contains(one));
      if (!blocked && !(softly && answered)) banner(look, title, text);
    },
    waiting: queue.waiting,
    isAway: () => at("link").classList.contains("bad"),
  };
}
