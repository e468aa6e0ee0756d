// Collection: the tube first, then its persons, then the seal. A person's identity number is scanned or typed;
// the tube scanned again, or F8, seals it. A different tube is never taken while one is open.

import { at, shownCode } from "./board.js";
import { say } from "./common.js";
import { clean, judge, resident } from "./keys.js";
import { openStation } from "./station.js";

const KEPT = "lis.collection";
const patterns = JSON.parse(at("patterns").textContent);
let open = null; // {code, kind, places, bound, sent}: sent are persons on their way

const preset = () => document.querySelector("#preset input[name=shape]:checked");

function show() {
  sessionStorage.setItem(KEPT, JSON.stringify(open)); // no person in it
  at("open-tube").hidden = !open;
  if (!open) {
    station.ready(say("tube_first"), say("tube_first_do"), "idle", true);
    return;
  }
  const n = open.bound + open.sent;
  at("tube-code").textContent = open.code;
  at("tube-kind").className = `kind big ${open.kind}`;
  at("tube-kind").textContent = open.kind === "mixed" ? say("red_tube") : say("green_tube");
  at("tube-count").textContent = `${n}/${open.places}`;
  at("places").replaceChildren(
    ...Array.from({ length: open.places }, (_, i) => {
      const one = document.createElement("i");
      one.className = i < open.bound ? "on" : i < n ? "sent" : "";
      one.textContent = `${i + 1}`;
      return one;
    }),
  );
  const full = n >= open.places;
  at("person-form").hidden = full;
  at("bind").hidden = full;
  at("next-person").textContent = say("next_person", { n: n + 1 });
  at("seal").disabled = n === 0;
  at("seal").classList.toggle("main", full);
  if (full || !n) at("seal-why").hidden = true; // else a question that was asked stays: answers come late
  station.ready(full ? say("now_seal") : say("now_person", { n: n + 1, of: open.places }), full ? say("now_seal_do") : say("now_person_do"), "idle", true);
}

function begin(code) {
  const [kind, places] = preset().value.split(":");
  const order = { barcode: code, kind, places: Number(places), tier: at("tier").value, site: at("site").value.trim() };
  open = { code, kind, places: Number(places), bound: 0, sent: 0 };
  at("seal-why").hidden = true;
  clearPeople();
  const kept = station.enqueue({ path: "/api/v1/tubes", body: order, code, place: "", info: "start" });
  if (!kept) open = null;
  show();
  return null;
}

function clearPeople() {
  at("people").tBodies[0].replaceChildren();
  at("people").hidden = true;
  at("nobody").hidden = false;
}

function person(id, name, document_) {
  const body = at("people").tBodies[0];
  const row = body.insertRow();
  row.dataset.scan = id;
  for (const text of [`${body.rows.length}`, name || say("from_register"), document_]) row.insertCell().textContent = text;
  row.cells[2].className = "code";
  at("people").hidden = false;
  at("nobody").hidden = true;
}

const masked = (number) => `${"*".repeat(Math.max(number.length - 2, 0))}${number.slice(-2)}`;

/** An identity card has its own check character, and no passport begins with a digit: the kind follows the number. */
function sortDocument() {
  const number = clean(at("document-number").value);
  at("document-number").value = number;
  if (resident(number)) at("document-type").value = "resident_id";
  else if (/^[A-Z]/.test(number) && at("document-type").value === "resident_id") at("document-type").value = "passport";
}

/** Bind the person in the form. */
function bind() {
  sortDocument();
  const name = at("person-name").value.trim();
  const number = at("document-number").value.trim();
  if (judge(clean(name), patterns).kind) {
    at("person-name").value = "";
    station.take(name); // a scanner that typed into the name
    return;
  }
  if (!open || at("person-form").hidden) return;
  if (!number) return at("document-number").focus();
  const body = { name, document_type: at("document-type").value, document_number: number, phone: at("person-phone").value.trim() };
  const place = `${open.bound + open.sent + 1}/${open.places}`;
  const code = open.code;
  const order = { path: `/api/v1/tubes/${code}/persons`, body, code, place, info: "bind", private: true };
  open.sent += 1;
  at("seal-why").hidden = true; // it goes on
  if (!station.enqueue(order)) open.sent -= 1;
  else {
    person(station.waiting().at(-1)?.id ?? "", name, masked(number));
    for (const id of ["person-name", "person-phone", "document-number"]) at(id).value = "";
  }
  show();
  station.focus();
}

function seal() {
  if (!open) return;
  const n = open.bound + open.sent;
  const reason = at("seal-reason").value.trim();
  if (!n) return station.stop(`${say("refused")}  ${open.code}`, say("empty_tube"));
  if (n < open.places && !reason) {
    at("seal-why").hidden = false;
    at("seal-reason").focus();
    return;
  }
  if (station.enqueue({ path: `/api/v1/tubes/${open.code}/seal`, body: { reason }, code: open.code, place: `${n}/${open.places}`, info: "seal" })) {
    at("seal-reason").value = "";
    at("seal-why").hidden = true;
    open = null;
    show();
    station.focus();
  }
}

async function resume(code) {
  const answer = await fetch(`/api/v1/tubes/${code}/persons`, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const tube = await answer.json();
  if (open?.code !== code) return;
  Object.assign(open, { kind: tube.kind, places: tube.places, bound: tube.persons });
  clearPeople();
  for (const one of tube.people) person("", one.name, one.document);
  show();
}

const station = openStation({
  name: "collection",
  kinds: ["tube", "person"],
  keys: { F2: () => open && at("person-name").focus(), F8: seal },
  accept(code, kind) {
    if (kind === "person") {
      if (!open) return { stop: { title: `${say("refused")}  ${shownCode(code)}`, text: say("tube_before_person") } };
      if (at("person-form").hidden) return { stop: { title: `${say("refused")}  ${shownCode(code)}`, text: say("tube_full", { tube: open.code }) } };
      at("document-type").value = "resident_id";
      at("document-number").value = code;
      at("person-name").focus();
      return null;
    }
    if (!open) return begin(code);
    if (open.code !== code) return { stop: { title: `${say("refused")}  ${code}`, text: say("other_tube_open", { tube: open.code }) } };
    const [wanted, places] = preset().value.split(":");
    if (!open.bound && !open.sent && (wanted !== open.kind || Number(places) !== open.places)) return begin(code); // begun as the wrong kind
    seal();
    return null;
  },
  fate(data, order) {
    const words = { start: say("started"), bind: say("bound", { n: data.persons, of: data.places }), seal: say("sealed", { n: data.persons }) };
    return {
      look: "received",
      text: words[order.info],
      title: `${words[order.info]}  ${data.barcode}`,
      undo: { tube: data.barcode, kind: { start: "Registered", bind: "PersonBound", seal: "Sealed" }[order.info] },
    };
  },
  refused(data, order) {
    // A tube that another desk, or this one before, has begun is taken up where it stands.
    if (order.info === "start" && data.code === "TUBE_IN_USE" && data.state === "registered") {
      return { look: "repeat", text: say("tube_taken_up"), title: `${say("tube_taken_up")}  ${order.code}` };
    }
    return null;
  },
  settled(record, order, status, data) {
    const mine = open?.code === order.code;
    if (order.info === "bind") {
      if (mine) {
        open.sent = Math.max(open.sent - 1, 0);
        if (status < 300) Object.assign(open, { bound: data.persons, places: data.places });
      }
      if (status >= 300) {
        document.querySelector(`tr[data-scan="${order.id}"]`)?.remove();
        // Whom the laboratory does not know needs a name: the number that was read stays in the form.
        if (mine && data.code === "PERSON_NAME") {
          at("document-number").value = order.body.document_number;
          at("document-type").value = order.body.document_type;
        }
      }
    } else if (order.info === "start" && mine) {
      if (record.look === "repeat") resume(order.code).catch(() => {});
      else if (status >= 300) open = null;
    } else if (order.info === "seal" && status >= 300 && !open) {
      open = { code: order.code, kind: "single", places: 1, bound: 0, sent: 0 };
      resume(order.code).catch(() => {});
    }
    if (mine || status >= 300) show();
  },
  acknowledged() {
    if (open && at("document-number").value && !at("person-form").hidden) setTimeout(() => at("person-name").focus());
  },
  undone(record, data) {
    if (record.undo.kind === "Sealed" && !open) {
      open = { code: data.barcode, kind: data.kind, places: data.places, bound: data.persons, sent: 0 };
      resume(open.code).catch(() => {});
    }
    if (open?.code !== data.barcode) return;
    open.bound = data.persons;
    if (record.undo.kind === "PersonBound") at("people").tBodies[0].lastElementChild?.remove();
    if (!at("people").tBodies[0].rows.length) clearPeople();
    if (record.undo.kind === "Registered") open = null;
    show();
  },
});

for (const id of ["person-name", "person-phone", "document-number"]) {
  at(id).addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (id === "person-name" && !at("document-number").value && judge(clean(at(id).value), patterns).kind === undefined) at("document-number").focus();
    else bind();
  });
}
at("document-number").addEventListener("change", sortDocument);
at("seal-reason").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    seal();
  }
});
at("bind").addEventListener("click", bind);
at("seal").addEventListener("click", seal);
for (const one of document.querySelectorAll("#preset input[name=shape]")) {
  one.checked = one.value === (sessionStorage.getItem("lis.shape") ?? "single:1");
  one.addEventListener("change", () => {
    sessionStorage.setItem("lis.shape", one.value);
    station.focus();
  });
}
at("tier").addEventListener("change", () => station.focus());
at("site").addEventListener("change", () => localStorage.setItem("lis.keep.site", at("site").value));

const begun = at("begun")?.dataset;
if (begun?.state === "registered") {
  open = { code: begun.tube, kind: begun.kind, places: Number(begun.places), bound: at("people").tBodies[0].rows.length, sent: 0 };
} else if (begun) {
  station.stop(`${say("refused")}  ${begun.tube}`, say("tube_closed"));
} else {
  open = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (open) {
    open.sent = station.waiting().filter((one) => one.info === "bind" && one.code === open.code).length;
    resume(open.code).catch(() => {});
  }
}
show();
