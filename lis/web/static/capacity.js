// The forecast on request, and the question whether more tubes may come in.

import { say, sentence, tell } from "./common.js";

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  const data = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(data.code), { problem: data });
  return data;
}

/** Ask while the button cannot be pressed again; what goes wrong is said on top of the page. */
async function asking(button, path, done) {
  button.disabled = true;
  tell("wait", say("computing"));
  try {
    await done(await ask(path));
  } catch (error) {
    tell("bad", error.problem ? sentence(error.problem) : say("no_answer_read"));
  } finally {
    button.disabled = false;
  }
}

const now = document.getElementById("forecast-now");
now.addEventListener("click", () => asking(now, "/api/v1/forecast", () => location.reload()));

function show(found) {
  const place = document.getElementById("admitted");
  const n = found.tubes;
  const [kind, text] = {
    yes: ["yes", `✓ ${say("admit_yes", { n })}`],
    "at risk": ["risk", `● ${say("admit_risk", { n })}`],
    no: ["no", `▲ ${say("admit_no", { n })}`],
  }[found.answer];
  const verdict = place.querySelector(".verdict");
  verdict.className = `verdict ${kind}`;
  verdict.firstElementChild.textContent = text;
  const put = (name, text) => (place.querySelector(`[data-of="${name}"]`).textContent = text);
  put("share", `${(100 * found.on_time_share).toFixed(1)} %`);
  put("caused", found.breaches_caused.toFixed(1));
  const whom = place.querySelector('[data-of="whom"]');
  whom.replaceChildren();
  for (const one of found.would_be_late.slice(0, 20)) {
    const link = document.createElement("a");
    link.href = `/tubes/${encodeURIComponent(one.tube)}`;
    link.className = "code";
    link.textContent = one.tube;
    whom.append(link, ` ${(100 * one.risk_before).toFixed(0)} → ${(100 * one.risk_after).toFixed(0)} %`, document.createElement("br"));
  }
  if (!found.would_be_late.length) whom.textContent = say("admit_nobody");
  place.hidden = false;
  document.getElementById("banner").hidden = true;
}

const form = document.getElementById("admit");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { tubes, mode, tier, hours } = Object.fromEntries(new FormData(form));
  // By the clock of the laboratory: that of this computer may be wrong.
  const lab = Date.parse(document.querySelector(".side time").dateTime) + performance.now();
  const by = new Date(lab + Number(hours) * 3_600_000).toISOString();
  const query = new URLSearchParams({ tubes, mode, tier, by });
  asking(form.querySelector("button"), `/api/v1/admission?${query}`, show);
});
