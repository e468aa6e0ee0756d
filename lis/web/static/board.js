// What a station shows: the large answer, and the list of the latest scans; and how codes and places are written.

const LISTED = 60;
const ROWS = "ABCDEFGH";
const SHAPES = {
  received: '<circle cx="24" cy="24" r="22"/><path class="in" d="M13 25l8 8 15-17"/>',
  repeat: '<rect x="3" y="3" width="42" height="42" rx="5"/><path class="in" d="M13 20h22M13 28h22"/>',
  held: '<path d="M24 2 47 45H1z"/><path class="in" d="M24 17v13M24 36v3"/>',
  refused: '<path d="M15 2h18l13 13v18L33 46H15L2 33V15z"/><path class="in" d="M15 15l18 18M33 15 15 33"/>',
  pending: '<circle cx="24" cy="24" r="22"/><path class="in" d="M24 11v13l9 6"/>',
  undone: '<circle cx="24" cy="24" r="22"/><path class="in" d="M34 33a11 11 0 0 0-11-16h-8m6-7-7 7 7 7"/>',
  idle: '<circle cx="24" cy="24" r="22"/>',
};
const MARKS = { received: "✓", repeat: "=", held: "▲", refused: "✕", pending: "…", undone: "↩" };

export const at = (id) => document.getElementById(id);

/** The large answer, in colour, shape and words. */
export function banner(look, title, text) {
  const result = at("result");
  result.className = `result ${look}`;
  result.querySelector("svg").innerHTML = SHAPES[look];
  result.querySelector("b").textContent = title;
  result.querySelector("p").textContent = text;
}

/** Whether the server answers; written only when it changes. */
export function link(look, text) {
  const line = at("link");
  if (line.className === `link ${look}` && line.textContent === text) return;
  line.className = `link ${look}`;
  line.textContent = text;
}

/** A scan in the list of the latest: anew at its top, or where it stands already. */
export function list(id, look, code, place, text) {
  at("nothing").hidden = true;
  let item = at(`scan-${id}`);
  if (!item) {
    item = document.createElement("li");
    item.id = `scan-${id}`;
    at("recent").prepend(item);
    while (at("recent").children.length > LISTED) at("recent").lastElementChild.remove();
  }
  item.className = look;
  const parts = [["i", MARKS[look]], ["a", code], ["b", place], ["span", text]].map(([tag, words]) => {
    const made = document.createElement(tag);
    made.textContent = words ?? "";
    return made;
  });
  parts[1].className = "code";
  if (/^[0-9L][0-9]{10,11}$/.test(code)) parts[1].href = `/tubes/${code}`;
  item.replaceChildren(...parts);
}

/** The next place of a rack of 96, row by row; empty after the last one. */
export function following(position) {
  const found = /^([A-H])(\d{1,2})$/i.exec(position);
  if (!found) return position;
  const row = ROWS.indexOf(found[1].toUpperCase());
  const column = Number(found[2]);
  if (column < 12) return `${ROWS[row]}${column + 1}`;
  return row < 7 ? `${ROWS[row + 1]}1` : "";
}

/** A code as it may be shown and kept: of the number of a person only its ends. */
export function shownCode(code) {
  return /^\d{14,17}[\dX]$/.test(code) ? `${code.slice(0, 4)}${"*".repeat(code.length - 8)}${code.slice(-4)}` : code.slice(0, 40);
}
