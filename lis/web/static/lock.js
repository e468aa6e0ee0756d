// Covers the screen of somebody who went away, lets the next person in by badge and PIN, and asks who is
// there before something is signed. Scans that wait in the browser's store are sent before the sign-in is
// locked; what is still there keeps the name of whoever made it.
//
// Other modules hear on document: `lis:lock` (the screen was covered) and `lis:user` (it is open again;
// detail: {account, full_name, role, same}). Whoever can go on for another person without loading the page
// anew calls preventDefault() on `lis:user`.

import { account, post, say, sentence, setCsrf } from "./common.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const LOCKED = "lis.locked", ACTIVE = "lis.active", PERSON = "lis.person";
const SCAN = "lis.scan.";
const minutes = Number(document.body.dataset.lock ?? meta("lock"));
const mark = () => meta("csrf").slice(0, 8);

let dialog = null, covered = false, asked = null, told = 0;

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Scans in the browser's store by the account that made them. */
function waiting() {
  const found = {};
  for (const name of Object.keys(localStorage).filter((one) => one.startsWith(SCAN))) {
    try {
      const whose = JSON.parse(localStorage.getItem(name)).account;
      if (whose) found[whose] = (found[whose] ?? 0) + 1;
    } catch { /* another tab has just sent it */ }
  }
  return found;
}

function secretField(name, text, attributes = {}) {
  return make("label", {}, text, make("input", { name, type: "password", autocomplete: "off", maxlength: "128", required: "", ...attributes }));
}

/** The dialog over everything; `kind` is lock (cannot be closed) or prove. */
function open(kind) {
  dialog?.remove();
  const person = meta("person");
  const title = kind === "lock" ? say("lock_title", { person }) : say("prove_title");
  const own = make("form", { class: "own" }, secretField("secret", say("lock_secret", { person })), make("button", { class: "main" }, kind === "lock" ? say("lock_open") : say("prove_go")));
  const said = make("p", { class: "said", role: "alert" });
  dialog = make("dialog", { class: `cover ${kind}`, "aria-label": title }, make("h1", {}, title), make("p", { class: "quiet" }, kind === "lock" ? say("lock_text") : say("prove_text")), said, own);
  own.addEventListener("submit", (event) => { event.preventDefault(); prove(own); });
  if (kind === "lock") {
    const other = make("form", { class: "badge" }, make("h2", {}, say("lock_other")), secretField("badge", say("lock_badge")), secretField("pin", say("lock_pin"), { inputmode: "numeric" }), make("button", {}, say("lock_switch")));
    other.addEventListener("submit", (event) => { event.preventDefault(); badge(other); });
    other.elements.badge.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Tab") return;
      event.preventDefault(); // a scanner ends a badge with Enter: the PIN comes next
      if (other.elements.badge.value) other.elements.pin.focus();
    });
    dialog.append(make("p", { class: "scans quiet" }), other, make("p", {}, make("a", { href: "/sign-in" }, say("lock_name"))));
    dialog.querySelector("a").addEventListener("click", (event) => { event.preventDefault(); leave(); });
  } else {
    const cancel = make("button", { type: "button" }, say("prove_cancel"));
    cancel.addEventListener("click", () => close(false));
    own.append(cancel);
  }
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); if (kind === "prove") close(false); });
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // keys of the page below stay asleep
  document.body.append(dialog);
  dialog.showModal();
  (kind === "lock" ? dialog.querySelector("[name=badge]") : own.elements.secret).focus();
}

function tellIn(text) {
  dialog.querySelector(".said").textContent = text ? `✕ ${text}` : "";
}

function close(answer) {
  dialog?.remove();
  dialog = null;
  asked?.resolve(answer);
  asked = null;
}

async function busy(form, act) {
  if (form.dataset.busy) return;
  form.dataset.busy = "1";
  tellIn("");
  try {
    await act();
  } catch {
    if (dialog) tellIn(say("no_answer"));
  } finally {
    delete form.dataset.busy;
  }
}

/** Show by PIN or password that the same person is there. Eight digits may be either. */
function prove(form) {
  const secret = form.elements.secret.value;
  const pin = /^\d{4,8}$/.test(secret);
  form.elements.secret.value = "";
  return busy(form, async () => {
    let answer = await post("/api/v1/prove", pin ? { pin: secret } : { password: secret });
    if (pin && secret.length === 8 && answer.data.code === "PROOF_WRONG") answer = await post("/api/v1/prove", { password: secret });
    if (answer.status < 300) return covered ? uncover({ same: true }) : close(true);
    if (answer.status === 401) return location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
    tellIn(sentence(answer.data));
    form.elements.secret.focus();
  });
}

/** Let the holder of a badge and its PIN go on at this station. */
function badge(form) {
  const order = { badge: form.elements.badge.value, pin: form.elements.pin.value };
  form.reset();
  form.elements.badge.focus();
  return busy(form, async () => {
    await drained(8000);
    const { status, data } = await post("/api/v1/switch", order);
    if (status >= 300) return tellIn(sentence(data));
    const same = data.name === account;
    setCsrf(data.csrf);
    localStorage.setItem(PERSON, `${data.name} ${Date.now()}`);
    uncover({ same, ...data });
  });
}

async function leave() {
  await drained(8000);
  await post("/api/v1/sign-out", {}).catch(() => null);
  location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
}

/** Wait until the scans of this person are sent, but not for ever: what is left keeps this person's name. */
async function drained(most) {
  for (const end = Date.now() + most; waiting()[account] && Date.now() < end;) {
    tellIn("");
    dialog.querySelector(".scans").textContent = say("lock_sending", { n: waiting()[account] });
    await new Promise((go) => setTimeout(go, 200));
  }
}

export function cover() {
  if (covered) return;
  asked?.resolve(false);
  asked = null;
  covered = true;
  localStorage.setItem(LOCKED, mark());
  document.dispatchEvent(new CustomEvent("lis:lock"));
  open("lock");
  settle();
}

/** Lock the sign-in itself, once nothing of it waits to be sent. */
async function settle() {
  if (!covered) return;
  const n = waiting()[account] ?? 0;
  const line = dialog?.querySelector(".scans");
  if (line) line.textContent = n ? say("lock_sending", { n }) : "";
  let done = false;
  if (!n) {
    try {
      const { status } = await post("/api/v1/lock", {});
      done = status < 300 || status === 401;
    } catch { /* the server is away: try again */ }
  }
  if (!done) setTimeout(settle, n ? 1000 : 5000);
}

function uncover(who) {
  covered = false;
  localStorage.removeItem(LOCKED);
  touch();
  close(true);
  const detail = { account, ...who, account: who.name ?? account };
  const handled = !document.dispatchEvent(new CustomEvent("lis:user", { detail, cancelable: true }));
  if (!who.same && !handled) location.reload();
  else others();
}

/** Ask who is there before something is signed; resolves to whether that was shown. */
export function askProof() {
  if (covered) return Promise.resolve(false);
  asked?.resolve(false);
  return new Promise((resolve) => {
    open("prove");
    asked = { resolve };
  });
}

function touch() {
  const now = Date.now();
  if (now - told < 2000) return;
  told = now;
  localStorage.setItem(ACTIVE, String(now));
}

function idle() {
  const last = Math.max(told, Number(localStorage.getItem(ACTIVE) ?? 0));
  if (minutes > 0 && Date.now() - last > minutes * 60_000) cover();
}

/** Scans that other people made at this computer and that are not sent yet. */
function others() {
  document.getElementById("others")?.remove();
  if (document.getElementById("station")) return; // a station tells it itself
  const left = Object.entries(waiting()).filter(([name]) => name !== account);
  if (!left.length) return;
  const text = left.map(([name, n]) => say("lock_left", { name, n })).join(" ");
  document.querySelector("main").prepend(make("p", { id: "others", class: "note" }, `▲ ${text}`));
}

window.addEventListener("storage", (event) => {
  if (event.key === LOCKED && event.newValue === mark()) cover();
  if (event.key === LOCKED && event.newValue === null && covered) {
    covered = false;
    close(true);
    document.dispatchEvent(new CustomEvent("lis:user", { detail: { account, same: true }, cancelable: true }));
  }
  if (event.key === PERSON && event.newValue) location.reload();
});
for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart"]) {
  window.addEventListener(name, () => { if (!covered) touch(); }, { capture: true, passive: true });
}
document.addEventListener("click", (event) => { if (event.target.closest?.("[data-lock-now]")) cover(); });

touch();
others();
if (localStorage.getItem(LOCKED) === mark()) cover();
else if (localStorage.getItem(LOCKED)) localStorage.removeItem(LOCKED);
if (minutes > 0) setInterval(idle, 5000);
