// Keys on the map of a plate: arrows go from well to well, Home and End to the ends of the row, Enter opens
// the tube of the well. One well of a map takes part in the order of the Tab key. Whoever looks at a well, by
// hand or by eye, makes it known as "well:look" to the part of the page that shows its run.

const COLUMNS = { 96: 12, 384: 24 }, ROWS = { 96: 8, 384: 16 };

export const wellOf = (target) => target instanceof Element ? target.closest("svg.plate [data-well]") : null;

/** The well so many rows and columns away; the edge holds. */
export function neighbour(well, size, rows, columns) {
  const row = Math.min(Math.max(well.charCodeAt(0) - 65 + rows, 0), ROWS[size] - 1);
  const column = Math.min(Math.max(Number(well.slice(1)) - 1 + columns, 0), COLUMNS[size] - 1);
  return `${String.fromCharCode(65 + row)}${column + 1}`;
}

/** Give the focus to a well of a map; it is where the Tab key comes back to. */
export function enter(map, name) {
  const well = map.querySelector(`[data-well="${name}"]`);
  if (!well) return;
  map.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
  well.setAttribute("tabindex", "0");
  well.focus({ preventScroll: true });
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -99], End: [0, 99] };

document.addEventListener("keydown", (event) => {
  const well = wellOf(event.target), step = STEPS[event.key];
  if (!well || !step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const map = well.closest("svg.plate");
  enter(map, neighbour(well.dataset.well, Number(map.dataset.size), ...step));
});

function look(target, name) {
  const view = target.closest(".runview");
  view?.dispatchEvent(new CustomEvent("well:look", { detail: name }));
}

for (const [kind, shown] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(kind, (event) => {
    const well = wellOf(event.target);
    if (well) look(well, shown ? well.dataset.well : "");
  });
}
