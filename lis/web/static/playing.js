// How far a simulation is, asked every half second while it runs; the page is loaded anew when it is over.

import { say, send, sentence, tell, uuid } from "./common.js";

const card = document.getElementById("playing");
const put = (name, text) => (card.querySelector(`[data-of="${name}"]`).textContent = text);

function show(job) {
  const bar = card.querySelector("progress");
  if (job.of) {
    bar.max = job.of;
    bar.value = job.done;
  } else bar.removeAttribute("value");
  put("count", job.of ? `${job.done} / ${job.of}` : job.done ? say("sim_tried", { n: job.done }) : "");
  put("left", job.seconds_left ? say("sim_left", { n: Math.ceil(job.seconds_left) }) : "");
  put("said", job.said);
}

async function follow() {
  try {
    const answer = await fetch(`/api/v1/simulations/${card.dataset.job}`, { credentials: "same-origin" });
    const job = await answer.json();
    if (!answer.ok) return tell("bad", sentence(job));
    if (job.state !== "waiting" && job.state !== "running") return location.reload();
    show(job);
  } catch {
    tell("wait", say("no_answer_read"));
  }
  setTimeout(follow, 500);
}

if (card) {
  follow();
  document.getElementById("cancel").addEventListener("click", async (event) => {
    event.target.disabled = true;
    try {
      const { status, data } = await send(`/api/v1/simulations/${card.dataset.job}/cancel`, {}, uuid());
      if (status >= 300) tell("bad", sentence(data));
    } catch {
      tell("bad", say("no_answer"));
      event.target.disabled = false;
    }
  });
}
