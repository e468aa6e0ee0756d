// Scans on their way to the server. Each is in the browser's store, under an identity of its own and with the
// account that made it, before the next key is read; it leaves only when the server has said what became of it,
// or when it could never be sent. The identity makes a second sending harmless.

const WAITING = "lis.scan.";
const DONE = "lis.done.";
const KEPT = 60;

export class StoreFull extends Error {}

/** What this tab is called, also after it was loaded anew. */
export function tabName(uuid) {
  let name = sessionStorage.getItem("lis.tab");
  if (!name) sessionStorage.setItem("lis.tab", (name = uuid()));
  return name;
}

let last = 0;

/** Names that sort in the order in which they were given, also within one millisecond. */
function stamp() {
  last = Math.max(Date.now() * 100, last + 1);
  return String(last).padStart(15, "0");
}

function under(store, prefix) {
  const names = [];
  for (let i = 0; i < store.length; i++) {
    const name = store.key(i);
    if (name.startsWith(prefix)) names.push(name);
  }
  return names.sort();
}

/** The queue of one station. me: () => account; uuid: () => text; store: localStorage, or what behaves like it. */
export function makeQueue({ station, me, uuid, tab, store = localStorage }) {
  const read = (name) => {
    try {
      return JSON.parse(store.getItem(name));
    } catch {
      return null; // another tab has just taken it out
    }
  };
  const items = () => under(store, WAITING).map((name) => ({ ...read(name), name })).filter((one) => one.id);

  function keep(name, value) {
    const text = JSON.stringify(value);
    try {
      store.setItem(name, text);
      return;
    } catch {
      for (const old of under(store, DONE)) store.removeItem(old); // the list of what is done may go first
    }
    try {
      store.setItem(name, text);
    } catch {
      throw new StoreFull(name);
    }
  }

  return {
    /** Keep a scan. Throws StoreFull: then it is not kept, and must be scanned again. */
    add(order) {
      const id = uuid();
      const item = { id, tab, account: me(), station, at: new Date().toISOString(), ...order };
      const name = `${WAITING}${item.account}.${stamp()}.${id}`; // the name tells whose it is, to whoever counts
      keep(name, item);
      return { ...item, name };
    },
    /** What this account has to send at this station, oldest first. */
    waiting: () => items().filter((one) => one.account === me() && one.station === station),
    /** [what this account has to send at this station, what is not ours to send]: of other accounts or stations. */
    split() {
      const mine = (one) => one.account === me() && one.station === station;
      const all = items();
      return [all.filter(mine), all.filter((one) => !mine(one))];
    },
    /** Keep what became of a scan, without what was sent; the oldest such records go. */
    settle(item, fate) {
      store.removeItem(item.name);
      const record = { id: item.id, tab: item.tab, account: item.account, at: item.at, ...fate };
      record.name = `${DONE}${station}.${stamp()}.${item.id}`;
      try {
        store.setItem(record.name, JSON.stringify(record));
      } catch {
        // shown on the screen all the same
      }
      const kept = under(store, `${DONE}${station}.`);
      for (const old of kept.slice(0, Math.max(kept.length - KEPT, 0))) store.removeItem(old);
      return record;
    },
    /** Change what is kept of a scan that is done. */
    amend(record) {
      if (store.getItem(record.name) !== null) store.setItem(record.name, JSON.stringify(record));
    },
    /** What became of the last scans of this account here, oldest first. */
    done: () => under(store, `${DONE}${station}.`).map(read).filter((one) => one?.account === me()),
    isDone: (name) => name?.startsWith(`${DONE}${station}.`) ?? false,
    forget() {
      for (const name of under(store, `${DONE}${station}.`)) store.removeItem(name);
    },
  };
}
