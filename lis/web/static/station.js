// The engine of every scan station. A scan is taken from the keys, kept in the browser's store, shown, and sent
// until the server has said what became of it. What a code means at a station is told by that station's own
// module; see openStation. Nothing here depends on the server being there when a tube is scanned.

import { at, banner, list, shownCode } from "./board.js";
import { account, say, send, sentence, uuid } from "./common.js";
import { clean, judge, reader } from "./keys.js";
import { makeQueue, StoreFull, turn } from "./queue.js";
import { mute, muted, signal } from "./signals.js";

const SOUND = { received: "good", repeat: "repeat", held: "wrong", refused: "wrong" };
const COUNTED = ["received", "repeat", "held", "refused"];
const ANSWER_S = 10;

function tabName() {
  let name = sessionStorage.getItem("lis.tab");
  if (!name) sessionStorage.setItem("lis.tab", (name = uuid()));
  return name;
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
  const tab = tabName();
  const who = () => document.querySelector('meta[name="account"]')?.content || account;
  const queue = makeQueue({ station: config.name, me: who, uuid, tab });
  const keys = reader();
  let blocked = false, locked = false, sending = false, again = false, pause = 0, timer = 0;
  let idle = { title: at("result").querySelector("b").textContent, text: at("result").querySelector("p").textContent };

  const countsName = () => `lis.counts.${config.name}.${who()}`;
  const counts = () => ({ received: 0, repeat: 0, held: 0, refused: 0, ...JSON.parse(localStorage.getItem(countsName()) ?? "{}") });
  function count(look, by = 1) {
    const now = counts();
    if (!(look in now)) return;
    now[look] = Math.max(now[look] + by, 0);
    try {
      localStorage.setItem(countsName(), JSON.stringify(now));
    } catch {
      // a full store is told about where a scan could not be kept
    }
  }

  function draw() {
    const now = counts();
    for (const name of COUNTED) {
      if (!at(`count-${name}`)) continue;
      at(`count-${name}`).textContent = now[name];
      at(`count-${name}`).parentElement.classList.toggle("zero", !now[name]);
    }
    const waiting = queue.waiting().length;
    at("count-pending").textContent = waiting;
    at("count-pending").parentElement.classList.toggle("warn", waiting > 0);
    const others = queue.others();
    at("elsewhere").hidden = !others.length;
    if (others.length) {
      const stations = { reception: say("at_reception"), collection: say("at_collection"), pooling: say("at_pooling"), plating: say("at_plating"), storage: say("at_storage") };
      const names = [...new Set(others.map((one) => (one.account === who() ? stations[one.station] : one.account)))];
      at("elsewhere").textContent = say("elsewhere", { n: others.length, who: names.join(", ") });
    }
  }

  function stop(title, text, look = "refused") {
    blocked = true;
    at("acknowledge").hidden = false;
    banner(look, title, text);
    signal("wrong");
  }

  function rest() {
    banner("idle", idle.title, idle.text);
  }

  function acknowledge() {
    if (!blocked) return;
    blocked = false;
    at("acknowledge").hidden = true;
    rest();
    config.acknowledged?.();
    focus();
  }

  function link(look, text) {
    at("link").className = `link ${look}`;
    at("link").textContent = text;
  }

  function focus() {
    if (!locked) field.focus({ preventScroll: true });
  }

  /** Show what became of a scan and remember it. */
  function show(record, title) {
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

  /** A scan that is refused here and never sent: it too has its place in the list and in the count. */
  function refuse(code, text, title = `${say("refused")}  ${code}`) {
    settle({ id: uuid(), tab, account: who(), code, name: "" }, { look: "refused", text, title });
  }

  function wrongCode(code, found) {
    const shown = shownCode(code) || "—";
    if (found.wrong === "merged") return refuse(shown, say("code_merged", { n: code.length }));
    if (found.wrong === "check") return refuse(shown, say("code_check", { code: shown }));
    if (/[^\x20-\x7e]/.test(code)) return refuse(shown, say("code_ime", { code: shown }));
    return refuse(shown, say("code_shape", { code: shown }));
  }

  /** A whole code. */
  function take(raw) {
    const code = clean(raw);
    field.value = "";
    if (!code) return;
    if (locked) return;
    if (blocked && config.strict) {
      refuse(shownCode(code), say("not_taken"));
      return;
    }
    const found = judge(code, patterns);
    if (found.wrong) return wrongCode(code, found);
    if (config.kinds && !config.kinds.includes(found.kind)) {
      refuse(shownCode(code), say("code_kind", { code: shownCode(code) }));
      return;
    }
    const order = config.accept(code, found.kind);
    if (!order) return;
    if (order.stop) refuse(shownCode(code), order.stop.text, order.stop.title);
    else enqueue(order);
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
    list(item.id, "pending", item.code, item.place, say("pending"));
    if (blocked) signal("wrong"); // kept all the same; the ear is told that something still waits for the eye
    else banner("pending", order.title ?? item.code, order.text ?? say("pending"));
    draw();
    drain();
    return true;
  }

  /** Send the oldest scan; true when its fate is known. */
  async function sendOne(item) {
    const { status, data } = await send(item.path, item.body, item.id, ANSWER_S);
    if (status === 401 || data.code === "CSRF") {
      link("bad", status === 401 ? say("signed_out") : say("page_old"));
      return false;
    }
    if (status === 429 || status >= 500) throw new Error(String(status));
    link("ok", say("online"));
    let fate;
    try {
      fate = status >= 300 ? { text: sentence(data) } : config.fate(data, item);
    } catch {
      fate = { text: say("failed") }; // an answer that nobody understands must not block the rest
    }
    const record = settle(item, (status >= 300 && config.refused?.(data, item)) || fate);
    config.settled?.(record, item, status, data);
    return true;
  }

  async function drain() {
    again = true;
    if (sending) return;
    sending = true;
    clearTimeout(timer);
    try {
      while (again) {
        again = false;
        await turn(`lis.scans.${config.name}`, tab, sendAll);
      }
    } catch {
      link("bad", say("offline", { n: queue.waiting().length }));
      pause = Math.min(pause ? pause * 2 : 0.5, 5);
      timer = setTimeout(drain, pause * 1000);
    } finally {
      sending = false;
      draw();
    }
  }

  async function sendAll() {
    for (let items = queue.waiting(); items.length; items = queue.waiting()) {
      if (!(await sendOne(items[0]))) return;
      pause = 0;
    }
  }

  /** Take back the last act of this account here that was not taken back yet. */
  async function undo() {
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
      count("received", -1);
      const taken = { ...record, look: "undone", text: say("undone") };
      queue.amend(taken);
      list(record.id, "undone", record.code, record.place, taken.text);
      if (!blocked) banner("undone", `${say("undone")}  ${record.code}`, record.text);
      signal("repeat");
      config.undone?.(taken, data);
      draw();
    } catch {
      stop(say("refused"), say("undo_away"));
    }
  }

  function hush() {
    mute(!muted());
    at("mute").setAttribute("aria-pressed", String(muted()));
    if (!muted()) signal("good");
  }

  const functions = { Escape: acknowledge, F9: undo, F6: hush, ...config.keys };

  field.addEventListener("keydown", (event) => {
    const step = keys.press(event, field.value);
    if (!step.taken) return;
    event.preventDefault();
    event.stopPropagation();
    if (step.code !== undefined) take(step.code);
    else field.value = keys.text;
  });
  field.addEventListener("input", () => {
    if (keys.text) field.value = keys.text; // what an input method made of the keys is not shown
  });
  field.addEventListener("compositionend", () => {
    field.value = keys.text;
  });
  field.addEventListener("blur", () => {
    keys.clear();
  });
  field.addEventListener("paste", (event) => {
    const lines = (event.clipboardData?.getData("text") ?? "").split(/[\r\n]+/).filter(Boolean);
    if (config.pasted?.(lines.join("\n"))) event.preventDefault();
    else if (lines.length > 1) {
      event.preventDefault();
      for (const line of lines) take(line);
    }
  });
  document.addEventListener("keydown", (event) => {
    const act = functions[event.key] ?? functions[event.code]; // an input method hides the key, not its place
    if (act && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      if (!locked && !event.repeat) act();
      return;
    }
    const inField = event.target instanceof Element && event.target.closest("textarea, select, input:not([type=checkbox], [type=radio], [type=file])");
    if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
    // A scanner that types while no box has the focus, or a button has: the scan box takes it.
    const forButton = !keys.text && ["Enter", " ", "Tab"].includes(event.key);
    const step = forButton ? {} : keys.press(event, field.value);
    if (!step.taken) return;
    event.preventDefault();
    if (step.code !== undefined) take(step.code);
    else {
      const typed = keys.text;
      focus();
      field.value = typed;
    }
  });
  // A tube scanned while the rack, the place or the reason has the focus is a scan all the same.
  for (const beside of document.querySelectorAll("input[data-beside]")) {
    beside.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      const code = /(?:L[0-9]{10}|[0-9]{12})$/.exec(clean(beside.value))?.[0] ?? "";
      const isScan = ["tube", "pool"].includes(judge(code, patterns).kind);
      if (isScan) beside.value = beside.value.trim().slice(0, -code.length).trim() || (beside.dataset.was ?? "");
      beside.dataset.was = beside.value;
      beside.dispatchEvent(new Event("change"));
      focus();
      if (isScan) take(code);
    });
    beside.addEventListener("focus", () => {
      beside.dataset.was = beside.value;
      beside.select();
    });
  }
  at("acknowledge").addEventListener("click", acknowledge);
  at("undo")?.addEventListener("click", () => undo().finally(focus));
  at("mute").addEventListener("click", () => {
    hush();
    focus();
  });
  at("mute").setAttribute("aria-pressed", String(muted()));
  at("restart").addEventListener("click", () => {
    localStorage.removeItem(countsName());
    queue.forget();
    at("recent").replaceChildren();
    at("nothing").hidden = false;
    draw();
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

  function reload() {
    at("recent").replaceChildren();
    for (const record of queue.done()) list(record.id, record.look, record.code, record.place, record.text);
    for (const item of queue.waiting()) list(item.id, "pending", item.code, item.place, say("pending"));
    at("nothing").hidden = at("recent").children.length > 0;
    draw();
  }

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
      const answered = ["received", "repeat", "undone"].some((one) => at("result").classList.contains(one));
      if (!blocked && !(softly && answered)) banner(look, title, text);
    },
    waiting: queue.waiting,
    isAway: () => at("link").classList.contains("bad"),
  };
}
