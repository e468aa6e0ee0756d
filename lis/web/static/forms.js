// Forms with data-api become one JSON request each. A repeated press, or a repeat after a lost
// answer, carries the same key and is done once.

import { chinese, say, send, sentence, tell, uuid } from "./common.js";

const keys = new WeakMap();

function listOf(text) {
  return text.split(/[\s,;，；]+/).filter(Boolean);
}

function bodyOf(form) {
  if (form.hasAttribute("data-files")) return new FormData(form);
  const body = {};
  for (const field of form.elements) {
    if (!field.name || (field.type === "radio" && !field.checked)) continue;
    const value = field.value.trim();
    if (field.name === "shape") {
      const [kind, places] = value.split(":");
      Object.assign(body, { kind, places: Number(places) });
    } else if (field.hasAttribute("data-list")) body[field.name] = listOf(value);
    else if (value) body[field.name] = value;
  }
  return body;
}

function keyFor(form, body) {
  const text = body instanceof FormData ? [...body].map(([n, v]) => `${n}=${v.name ?? v}:${v.size ?? ""}`).join() : JSON.stringify(body);
  const known = keys.get(form);
  if (known?.text === text) return known.key;
  const fresh = { text, key: uuid() };
  keys.set(form, fresh);
  return fresh.key;
}

function remember(form) {
  for (const field of form.querySelectorAll("[data-keep]")) localStorage.setItem(`lis.keep.${field.dataset.keep}`, field.value);
}

function show(form, data) {
  if (form.dataset.show === "event") {
    tell("good", say("done"));
    form.dispatchEvent(new CustomEvent("lis:done", { detail: data, bubbles: true }));
    return;
  }
  if (form.dataset.show === "phone") {
    const row = form.closest("tr");
    row.querySelector("[data-phone]").textContent = `${data.phone || "—"}`;
    const name = row.querySelector("[data-name]");
    if (name) name.textContent = data.name;
    form.hidden = true;
    return;
  }
  const place = document.getElementById("person");
  place.replaceChildren();
  const name = document.createElement("p");
  name.textContent = `${data.person.name} · ${data.person.document} · ${data.person.phone}`;
  place.append(name);
  for (const tube of data.tubes) {
    const link = document.createElement("a");
    link.href = `/tubes/${tube.barcode}`;
    link.className = "code button";
    link.textContent = tube.barcode;
    place.append(link, " ");
  }
}

function done(form, data) {
  remember(form);
  keys.delete(form);
  if (form.dataset.show) return show(form, data);
  let text = say("done");
  let kind = "good";
  if (data.state === "quarantined" && form.dataset.api.startsWith("/api/v1/")) {
    kind = "bad";
    text = chinese ? say("quarantined") : `${say("quarantined")} ${data.sentence}`;
  }
  sessionStorage.setItem("lis.said", JSON.stringify({ kind, text }));
  const target = form.dataset.then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(data[name] ?? ""));
  location.assign(target);
}

async function submit(event) {
  const form = event.target;
  if (!form.dataset?.api) return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = "1";
  const buttons = [...form.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  const body = bodyOf(form);
  tell("wait", say("sending"));
  try {
    const { status, data } = await send(form.dataset.api, body, keyFor(form, body), 60);
    if (status < 300) return done(form, data);
    if (status < 500) keys.delete(form);
    if (status === 401 && data.code === "LOCKED") return tell("bad", sentence(data));
    if (status === 401) {
      location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
      return;
    }
    tell("bad", sentence(data));
  } catch {
    tell("bad", say("no_answer"));
  } finally {
    delete form.dataset.busy;
    for (const button of buttons) button.disabled = false;
  }
}

document.addEventListener("submit", submit);

for (const field of document.querySelectorAll("[data-keep]")) {
  field.value ||= localStorage.getItem(`lis.keep.${field.dataset.keep}`) ?? "";
}
for (const field of document.querySelectorAll("[data-submit]")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}
for (const field of document.querySelectorAll("[data-show-name]")) {
  const shown = field.parentElement.querySelector("span");
  const nothing = shown.textContent;
  field.addEventListener("change", () => (shown.textContent = field.files[0]?.name ?? nothing));
}
const said = sessionStorage.getItem("lis.said");
if (said) {
  sessionStorage.removeItem("lis.said");
  const { kind, text } = JSON.parse(said);
  tell(kind, text);
}

for (const one of document.querySelectorAll("[data-back]")) {
  one.hidden = history.length < 2;
  one.addEventListener("click", () => history.back());
}
