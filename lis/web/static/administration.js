// Screens about accounts: passwords that can be shown and are judged in words, secrets that are shown once,
// persons that are shown in clear for a reason.

import { post, say } from "./common.js";

const TONES = { length: "bad", common: "bad", name: "bad", fair: "soon", good: "good", strong: "good" };
const words = () => ({ length: say("strength_length"), common: say("strength_common"), name: say("strength_name"), fair: say("strength_fair"), good: say("strength_good"), strong: say("strength_strong") });

for (const button of document.querySelectorAll("button[data-reveal]")) {
  button.addEventListener("click", () => {
    const field = button.parentElement.querySelector("input");
    const hidden = field.type === "password";
    field.type = hidden ? "text" : "password";
    button.textContent = hidden ? say("reveal_hide") : say("reveal_show");
    button.setAttribute("aria-pressed", String(hidden));
    field.focus();
  });
}

for (const field of document.querySelectorAll("input[data-strength]")) {
  const shown = document.getElementById(field.dataset.strength);
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    if (!field.value) { shown.textContent = ""; return; }
    timer = setTimeout(async () => {
      const typed = field.value;
      const { status, data } = await post("/api/v1/account/strength", { password: typed }).catch(() => ({ status: 0 }));
      if (status !== 200 || typed !== field.value) return;
      shown.className = `strength ${TONES[data.strength]}`;
      shown.textContent = words()[data.strength];
    }, 250);
  });
}

for (const field of document.querySelectorAll("input[type=file][data-into]")) {
  field.addEventListener("change", async () => {
    const file = field.files[0];
    if (file) document.getElementById(field.dataset.into).value = await file.text();
  });
}

function once(form, title, secret, hint) {
  const box = document.createElement("div");
  box.className = "once";
  box.setAttribute("role", "status");
  const head = document.createElement("b");
  head.textContent = title;
  const value = document.createElement("output");
  value.textContent = secret;
  const text = document.createElement("p");
  text.textContent = hint;
  const seen = document.createElement("button");
  seen.type = "button";
  seen.textContent = say("once_seen");
  seen.addEventListener("click", () => location.reload());
  box.append(head, value, text, seen);
  form.replaceWith(box);
  seen.focus();
}

function verified(form, data) {
  const cell = form.closest("tr").querySelector("[data-check]");
  cell.textContent = data.ok ? `✓ ${say("copy_good", { events: data.events, tubes: data.tubes })}` : `✕ ${data.problem}`;
  cell.className = data.ok ? "good" : "bad";
}

function unmasked(form, data) {
  const rows = document.querySelectorAll("[data-people] tr");
  data.people.forEach((one, at) => {
    const cells = rows[at]?.querySelectorAll("td") ?? [];
    [one.name, one.document, one.phone].forEach((text, i) => { if (cells[i + 1]) cells[i + 1].textContent = text || "—"; });
  });
  form.closest("details").remove();
}

document.addEventListener("lis:done", (event) => {
  const form = event.target, data = event.detail;
  if (form.dataset.result === "password") once(form, say("once_password", { name: data.name }), data.password, say("once_password_do"));
  if (form.dataset.result === "code") once(form, say("once_code", { name: data.device }), data.code, say("once_code_do", { until: new Date(data.expires_at).toLocaleString("sv-SE", { timeZone: form.dataset.zone }), bridge: data.bridge }));
  if (form.dataset.result === "verified") verified(form, data);
  if (form.dataset.result === "unmasked") unmasked(form, data);
});

// whoever comes after must not see what was opened
document.addEventListener("lis:lock", () => { if (document.querySelector(".once")) location.reload(); });
