// Of several tabs of one station one at a time sends. A tab keeps its turn after its work, so that its next scan is
// on its way at once, and gives it to any tab that asks.

const LEASE = 8000;
const ASK = 300;

/**
 * Returns inTurn(work): does work while no other tab does work of this name.
 * locks: those of the browser; null where it gives none to pages that came without encryption. There a lease in
 * the store does, and where two tabs take it in the same moment the server knows a scan by its identity.
 */
export function takingTurns(name, tab, locks = navigator.locks, store = localStorage) {
  const others = new BroadcastChannel(`lis.turn.${name}`);
  let mine = null; // gives the turn back
  let busy = false, asked = false;

  function pass() {
    mine?.();
    mine = null;
  }

  async function take() {
    asked = false;
    const ask = () => others.postMessage(tab);
    ask();
    const asking = setInterval(ask, ASK); // again: who took the turn at this moment may not have heard it
    try {
      mine = await (locks ? locked(locks, name) : leased(name, tab, store));
    } finally {
      clearInterval(asking);
    }
  }

  others.addEventListener("message", () => {
    asked = true;
    if (!busy) pass();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && !busy) pass(); // what nobody sees may be put to sleep by the browser
  });
  window.addEventListener("pagehide", pass);

  return async function inTurn(work) {
    if (!mine) await take();
    busy = true;
    try {
      return await work();
    } finally {
      busy = false;
      if (asked || document.hidden) pass();
    }
  };
}

/** Resolves to what gives the lock back. */
function locked(locks, name) {
  return new Promise((got, failed) => {
    locks.request(name, () => new Promise((back) => got(back))).catch(failed);
  });
}

/** Resolves to what gives the lease back; of a tab that died it ends by itself. */
async function leased(name, tab, store) {
  const key = `lis.lease.${name}`;
  const read = () => JSON.parse(store.getItem(key) ?? "null");
  const renew = () => store.setItem(key, JSON.stringify({ tab, until: Date.now() + LEASE }));
  for (;;) {
    const held = read();
    if (!held || held.tab === tab || held.until < Date.now()) {
      renew();
      await new Promise((go) => setTimeout(go, 20));
      if (read()?.tab === tab) break;
    }
    await new Promise((go) => setTimeout(go, 100));
  }
  const renewed = setInterval(renew, LEASE / 4);
  return () => {
    clearInterval(renewed);
    if (read()?.tab === tab) store.removeItem(key);
  };
}
