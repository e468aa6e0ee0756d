// Puts a live chart in the place of every drawing: values under the pointer, dragging enlarges, a double
// click goes back. Without this script, and on paper, the drawings stand.
(() => {
  const options = { displayModeBar: false, responsive: true };
  const all = [...document.querySelectorAll(".chart")].map((place) => {
    const drawing = place.querySelector("svg");
    const box = document.createElement("div");
    const { data, layout } = JSON.parse(place.querySelector("script").textContent);
    const draw = () => {
      drawing.before(box);
      window.Plotly.newPlot(box, data, layout, options).then(() => drawing.remove());
    };
    const still = () => {
      if (!drawing.isConnected) box.replaceWith(drawing);
    };
    return { place, draw, still };
  });
  // Drawn when it comes into sight: a page of forty charts opens at once.
  const seen = new IntersectionObserver(
    (found) => {
      for (const one of found.filter((entry) => entry.isIntersecting)) {
        seen.unobserve(one.target);
        all.find((chart) => chart.place === one.target).draw();
      }
    },
    { rootMargin: "400px" },
  );
  for (const chart of all) seen.observe(chart.place);
  window.addEventListener("beforeprint", () => {
    seen.disconnect();
    for (const chart of all) chart.still();
  });
})();
