// The review desk: one case in sight, the queue beside it. Keys: J and K go to the next and the previous
// case, A accepts or releases, R, C and M open what they need to know, ? shows all of this. A key that is
// held down, or that was pressed before the case came into sight, does nothing.

const cases = [...document.querySelectorAll("article.case")];
const entries = [...document.querySelectorAll(".queue a[data-for]")];
const help = document.getElementById("help");
let here = Math.max(cases.findIndex((one) => !one.hidden), 0);

function follow(index) {
  const next = cases[index + 1] ?? cases[index - 1];
  for (const form of cases[index].querySelectorAll("form[data-api]:not([data-stay])")) {
    form.dataset.then = next ? `/review?at=${next.dataset.tube}` : "/review";
  }
}

function show(index, focus = true) {
  if (!cases[index]) return;
  cases[here].hidden = true;
  here = index;
  cases[here].hidden = false;
  for (const entry of entries) {
    const current = entry.dataset.for === cases[here].dataset.tube;
    if (current) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
    if (current) entry.scrollIntoView({ block: "nearest" });
  }
  follow(here);
  if (focus) cases[here].focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

/** Open the form of a key and put the cursor into its first field; close the others. */
function ask(key) {
  for (const form of cases[here].querySelectorAll("[data-ask]")) {
    form.hidden = form.dataset.ask !== key;
    if (!form.hidden) form.querySelector("select, input:not([type=hidden])").focus();
  }
}

const TYPED = "input, select, textarea";

document.addEventListener("keydown", (event) => {
  if (!cases.length || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && !help.open) {
    ask("");
    cases[here].focus({ preventScroll: true });
    return;
  }
  if (help.open || event.target.closest?.(TYPED)) return;
  const key = event.key === "?" ? "?" : (event.code || "").replace("Key", "").toLowerCase();
  if (key === "?") help.showModal();
  else if (event.shiftKey) return;
  else if (key === "j") show(here + 1);
  else if (key === "k") show(here - 1);
  else if (["a", "r", "c", "m"].includes(key)) cases[here].querySelector(`[data-key="${key}"]`)?.click();
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-key][type=button]");
  if (button) return ask(button.dataset.key);
  const entry = event.target.closest?.(".queue a[data-for]");
  if (!entry || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(cases.findIndex((one) => one.dataset.tube === entry.dataset.for));
});

document.getElementById("help-open")?.addEventListener("click", () => help.showModal());
if (cases.length) {
  follow(here);
  cases[here].focus({ preventScroll: true });
}
