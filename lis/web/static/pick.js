// The pick list: every tube that was fetched is ticked by its scan; what is not on the list stops the walk.
// Ticks live in this browser only, for the list as it stands: fetching a tube changes nothing about it.

const form = document.getElementById("scan");
const rows = new Map([...document.querySelectorAll("tr[data-code]")].map((row) => [row.dataset.code, row]));
const count = document.getElementById("picked");
const heard = document.getElementById("heard");
const KEY = "lis.pick";
const ticked = new Set(JSON.parse(sessionStorage.getItem(KEY) ?? "[]").filter((code) => rows.has(code)));

function show() {
  for (const [code, row] of rows) {
    row.classList.toggle("ticked", ticked.has(code));
    row.querySelector(".tick").textContent = ticked.has(code) ? "✓" : "☐";
  }
  count.textContent = `${ticked.size} / ${rows.size}`;
  sessionStorage.setItem(KEY, JSON.stringify([...ticked]));
}

function tell(kind, text) {
  heard.className = `banner ${kind}`;
  heard.textContent = text;
  heard.hidden = false;
}

document.getElementById("print")?.addEventListener("click", () => window.print());
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = form.elements.code;
  const code = field.value.trim();
  field.value = "";
  field.focus();
  if (!code) return;
  const row = rows.get(code);
  if (!row) return tell("bad", `✕ ${code}: ${form.dataset.bad}`);
  const again = ticked.has(code);
  ticked.add(code);
  show();
  row.scrollIntoView({ block: "center" });
  if (again) return tell("wait", `${code}: ${form.dataset.again}`);
  return tell("good", ticked.size === rows.size ? `✓ ${form.dataset.done}` : `✓ ${code}: ${form.dataset.good}`);
});
if (form) show();
