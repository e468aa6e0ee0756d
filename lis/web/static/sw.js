// Opens a scan station while the server is away. Kept are our own scripts and styles, and the pages that the
// server marks as shells of a station: they show no person and no result. Everything else, and every answer of
// the API, passes by. What was kept of pages is dropped when somebody signs in or out.

const FILES = "lis-files-1";
const SHELLS = "lis-shells-1";
const STATIONS = ["/collection", "/reception", "/storage"];
const PATIENCE = 4000;

// Scans need not pass by this worker, which the browser may have put to sleep and would have to wake first.
const PAST = ["receipts", "tubes", "tubes/*", "pools/*", "plates/*", "storage/*", "racks", "racks/*"];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  // Browsers that know no routes send everything through the worker, as before.
  if (event.addRoutes) event.waitUntil(event.addRoutes(PAST.map((path) => ({ condition: { urlPattern: `/api/v1/${path}` }, source: "network" }))).catch(() => {}));
});
self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== FILES && name !== SHELLS) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

/** The answer of the server, but no longer than our patience. */
function asked(request) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  return fetch(request, { signal: stop.signal }).finally(() => clearTimeout(timer));
}

/** The server first; what was kept if it does not answer. */
async function fresh(request, name, mayKeep) {
  const kept = await caches.open(name);
  try {
    const answer = await asked(request);
    if (mayKeep(answer)) await kept.put(request, answer.clone());
    return answer;
  } catch (error) {
    const found = await kept.match(request, { ignoreVary: true });
    if (found) return found;
    throw error;
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (address.origin !== self.location.origin) return;
  if (request.method !== "GET") {
    if (["/sign-in", "/sign-out", "/api/v1/sign-in", "/api/v1/sign-out", "/language"].includes(address.pathname)) event.waitUntil(caches.delete(SHELLS));
    return;
  }
  if (address.pathname.startsWith("/static/") && address.pathname !== "/static/sw.js") {
    event.respondWith(fresh(request, FILES, (answer) => answer.ok));
  } else if (request.mode === "navigate" && STATIONS.includes(address.pathname) && !address.search) {
    event.respondWith(fresh(request, SHELLS, (answer) => answer.ok && answer.headers.get("X-Station-Shell") === "1"));
  }
});
