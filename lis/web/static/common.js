// What all scripts share: the words of this page, the account, requests that carry their key.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const words = JSON.parse(document.getElementById("words").textContent);

export const chinese = document.documentElement.lang.startsWith("zh");
export const account = meta("account");

/** The wording of a key in the language of the page, with {names} filled in. */
export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "…");
}

/** A random identity; randomUUID exists only on HTTPS and localhost. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}

/** The sentence of a problem document in the language of the page. */
export function sentence(problem) {
  return (chinese ? problem.detail_zh : problem.detail) || problem.detail || say("failed");
}

/** Go on under another sign-in of the same person: its token goes with every change from now on. */
export function setCsrf(token) {
  document.querySelector('meta[name="csrf"]').content = token;
}

/** A change that is its own key, such as a sign-in: done again it does no harm. */
export function post(path, body, seconds = 15) {
  return sendOnce(path, body, uuid(), seconds);
}

/**
 * Send a change. Resolves to {status, data}; rejects when no answer came, so that the same request
 * can be sent again under the same key. When the server wants to know who is there, the person is asked
 * and the same request is sent once more; a locked screen is covered.
 */
export async function send(path, body, key, seconds = 15) {
  const answer = await sendOnce(path, body, key, seconds);
  if (answer.status === 401 && answer.data.code === "LOCKED") (await import("./lock.js")).cover();
  if (answer.status !== 403 || answer.data.code !== "REAUTH") return answer;
  const lock = await import("./lock.js");
  return (await lock.askProof()) ? sendOnce(path, body, key, seconds) : answer;
}

async function sendOnce(path, body, key, seconds) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), seconds * 1000);
  const headers = { "X-CSRF": meta("csrf"), "Idempotency-Key": key, Accept: "application/json" };
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(path, {
      method: "POST",
      body: body instanceof FormData ? body : JSON.stringify(body),
      headers,
      credentials: "same-origin",
      redirect: "error",
      signal: stop.signal,
    });
    return { status: answer.status, data: await answer.json() };
  } finally {
    clearTimeout(timer);
  }
}

/** Show one line on top of the page; kind is good, bad or wait. */
export function tell(kind, text) {
  const banner = document.getElementById("banner");
  banner.className = `banner ${kind}`;
  banner.textContent = `${{ good: "✓", bad: "✕", wait: "…" }[kind]} ${text}`;
  banner.hidden = false;
  if (kind === "bad") banner.scrollIntoView({ block: "nearest" });
}
