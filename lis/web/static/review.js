// Keys of the review page: J and K move, A accepts, R and C open the reason.

const cases = [...document.querySelectorAll("article.case")];

function move(step) {
  const here = cases.indexOf(document.activeElement?.closest("article.case"));
  const next = cases[Math.min(Math.max(here + step, 0), cases.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "center" });
}

function ask(article, verdict) {
  const form = article.querySelector("form.asks");
  if (!form) return;
  form.elements.verdict.value = verdict;
  form.elements.reason.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const article = document.activeElement?.closest("article.case");
  const key = (event.code || "").replace("Key", "").toLowerCase();
  if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (article && key === "a") article.querySelector('[data-key="a"]')?.click();
  else if (article && key === "r") ask(article, "re-extract");
  else if (article && key === "c") ask(article, "recollect");
  else return;
  event.preventDefault();
});
cases[0]?.focus({ preventScroll: true });
