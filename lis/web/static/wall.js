// The wall: draws the whole picture whenever one comes, and lets the clocks run in between.
// The server pushes one picture to every monitor; nothing here asks for a person or changes anything.

const named = JSON.parse(document.getElementById("named").textContent);
const zone = document.body.dataset.zone;
const chinese = document.documentElement.lang.startsWith("zh");
const SVG = "http://www.w3.org/2000/svg";
const SOON = 2 * 3600e3, OLD = 3600e3;
let picture = JSON.parse(document.getElementById("picture").textContent);
let ahead = Date.parse(picture.at) - Date.now();
let heard = Date.now();
let lost = false;

const word = (key, values = {}) => named[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const now = () => Date.now() + ahead;

function make(name, kind = "", ...content) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...content);
  return made;
}

/** Letter, shape and colour of a state: circle on time, triangle at risk, diamond late. */
function sign(level, text) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  const shape = document.createElementNS(SVG, level === "good" ? "circle" : "path");
  if (level === "good") for (const [key, value] of [["cx", 10], ["cy", 10], ["r", 10]]) shape.setAttribute(key, value);
  else shape.setAttribute("d", level === "late" ? "M10 0 20 10 10 20 0 10z" : "M10 0 20 19H0z");
  const letter = document.createElementNS(SVG, "text");
  letter.setAttribute("x", 10);
  letter.setAttribute("y", level === "soon" ? 17 : 14);
  letter.textContent = word(`letter_${level}`);
  svg.append(shape, letter);
  return make("span", `sign ${level}`, svg, make("span", "", text));
}

function levelOf(moment) {
  const left = moment - now();
  return left < 0 ? "late" : left < SOON ? "soon" : "good";
}

function span(milliseconds) {
  const minutes = Math.floor(Math.abs(milliseconds) / 60e3);
  return `${milliseconds < 0 ? "−" : ""}${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

const time = (moment) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hour12: false }).format(moment);
const percent = (share, digits = 1) => share === null ? "—" : `${(100 * share).toFixed(share === 1 ? 0 : digits)} %`;

function drawClocks() {
  document.getElementById("clocks").replaceChildren(...picture.tiers.map((tier) => {
    const first = tier.first ? Date.parse(tier.first) : null;
    const level = first === null ? "none" : levelOf(first);
    const names = tier.tiers.map((one) => named[`tier.${one}`] ?? one).join(chinese ? "、" : ", ");
    const counts = make("p", "counts", make("span", "", word("waiting", { n: tier.count })));
    if (tier.late) counts.append(sign("late", word("late_n", { n: tier.late })));
    if (tier.soon) counts.append(sign("soon", word("soon_n", { n: tier.soon })));
    const left = make("div", `left ${level}`, first === null ? "—" : span(first - now()));
    if (first !== null) left.append(make("small", "", word(first < now() ? "overdue" : "left")));
    const title = make("h2", "", word("hours", { n: tier.hours }), make("small", "", names));
    const card = make("article", `clock ${level}`, title, left, counts);
    if (level !== "none") card.append(sign(level, word(level)));
    return card;
  }));
}

function figure(title, value, below, kind = "") {
  return make("article", "figure", make("h2", "", word(title)), make("b", kind, value), make("p", "", below));
}

function drawFigures() {
  const { today, day } = picture.on_time, { retest, positivity, forecast } = picture;
  const kind = (share) => share === null ? "none" : share >= 0.95 ? "good" : share >= 0.9 ? "soon" : "late";
  const range = positivity.n ? word("interval", { low: percent(positivity.low, 2), high: percent(positivity.high, 2) }) : word("nobody");
  const old = forecast && now() - Date.parse(forecast.at) > OLD;
  const foreseen = forecast ? word(old ? "forecast_old" : "forecast_at", { at: time(Date.parse(forecast.at)) }) : word("forecast_none");
  const likely = forecast ? String(Math.round(forecast.late)) : "—";
  document.getElementById("figures").replaceChildren(
    figure("today", percent(today.share), word("of_tubes", { n: today.n }), kind(today.share)),
    figure("day", percent(day.share), word("of_tubes", { n: day.n }), kind(day.share)),
    figure("foreseen", likely, foreseen, !forecast || old ? "none" : forecast.late >= 0.5 ? "late" : "good"),
    figure("retest", percent(retest.share), word("of_read", { n: retest.n })),
    figure("positivity", percent(positivity.share, 2), range),
  );
}

function drawRiver() {
  const river = document.getElementById("river");
  const before = new Map([...river.children].map((one) => [one.dataset.state, one.dataset.count]));
  river.replaceChildren(...picture.river.map((one) => {
    const below = make("p");
    if (one.late) below.append(sign("late", String(one.late)));
    if (one.soon) below.append(sign("soon", String(one.soon)));
    const reach = make("article", one.count ? "reach" : "reach empty", make("span", "", word(`state_${one.state}`)), make("b", "", String(one.count)), below);
    reach.style.flexGrow = String(Math.sqrt(one.count));
    reach.dataset.state = one.state;
    reach.dataset.count = String(one.count);
    if (before.has(one.state) && before.get(one.state) !== reach.dataset.count) reach.classList.add("moved");
    return reach;
  }));
}

function drawBelow() {
  const hours = (value) => value === null ? "—" : value < 10 ? value.toFixed(1) : value.toFixed(0);
  document.getElementById("stages").replaceChildren(...picture.stages.map((one) => make("tr", "",
    make("td", "", word(`stage_${one.stage}`)), ...["p50", "p75", "p95"].map((name) => make("td", "", hours(one[name]))))));
  const due = picture.next.map((one) => {
    const moment = Date.parse(one.due);
    return make("li", "", make("span", "code", one.tube), make("span", "quiet", word(`state_${one.state}`)), sign(levelOf(moment), span(moment - now())));
  });
  document.getElementById("next").replaceChildren(...(due.length ? due : [make("li", "quiet", word("next_none"))]));
  const heardOf = picture.instruments.slice(0, 5).map((one) => make("li", "", make("span", "code", one.name),
    one.silent ? sign("late", one.seen ? word("silent", { n: span(now() - Date.parse(one.seen)) }) : word("never")) : sign("good", word("heard"))));
  if (picture.instruments.length > 5) heardOf.push(make("li", "quiet", word("more", { n: picture.instruments.length - 5 })));
  document.getElementById("instruments").replaceChildren(...(heardOf.length ? heardOf : [make("li", "quiet", word("instruments_none"))]));
}

function tell(text, bad) {
  const told = document.getElementById("told");
  told.textContent = text;
  told.className = bad ? "bad" : "";
  told.hidden = !text;
}

function drawTold() {
  document.body.classList.toggle("stale", lost);
  if (lost) tell(word("lost", { at: time(heard + ahead) }), true);
  else if (!picture.whole) tell(word("reading"), false);
  else tell(picture.alarms ? word("alarms", { n: picture.alarms }) : "", false);
}

function draw() {
  drawClocks();
  drawFigures();
  drawRiver();
  drawBelow();
  drawTold();
}

/** Every second the clocks; once a minute everything that depends on the time. */
let minute = -1;
function tick() {
  document.getElementById("clock").textContent = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }).format(now());
  if (Math.floor(now() / 60e3) === minute) return;
  minute = Math.floor(now() / 60e3);
  drawClocks();
  drawBelow();
}

const news = new EventSource("/api/v1/wall/live");
news.addEventListener("wall", (event) => {
  picture = JSON.parse(event.data);
  heard = Date.now();
  ahead = Date.parse(picture.at) - heard;
  lost = false;
  draw();
});
news.addEventListener("error", () => { lost = true; drawTold(); });
news.addEventListener("open", () => { lost = false; drawTold(); });

const opener = document.getElementById("open");
if (opener) {
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const ask = async (path, body) => {
    const answer = await fetch(path, { method: "POST", body: JSON.stringify(body), headers: { "X-CSRF": csrf, "Content-Type": "application/json" }, credentials: "same-origin" });
    const data = await answer.json();
    return answer.ok ? data : Promise.reject(new Error((chinese ? data.detail_zh : data.detail) || data.detail));
  };
  const field = document.getElementById("address"), dialog = document.getElementById("monitor");
  opener.addEventListener("click", async () => {
    dialog.showModal();
    try { field.value = location.origin + (await ask("/api/v1/wall/monitors", {})).path; field.select(); } catch (fault) { field.value = fault.message; }
  });
  document.getElementById("end").addEventListener("click", async () => {
    try { field.value = word("ended", { n: (await ask("/api/v1/wall/monitors/end", {})).ended }); } catch (fault) { field.value = fault.message; }
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());
}

draw();
tick();
setInterval(tick, 1000);
