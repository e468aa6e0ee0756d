// Looking for a person by full name or document: asked by POST, so that no name stands in an address or a log.

import { send, sentence, tell, uuid } from "./common.js";

const form = document.getElementById("persons");
const place = document.getElementById("found");

function shown(person) {
  const block = document.createElement("p");
  const who = document.createElement("b");
  who.textContent = `${person.name} · ${person.document}`;
  block.append(who, " ");
  for (const tube of person.tubes) {
    const link = document.createElement("a");
    link.href = `/tubes/${tube.barcode}`;
    link.className = "code button";
    link.textContent = tube.barcode;
    block.append(link, " ");
  }
  return block;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(form));
  try {
    const { status, data } = await send("/api/v1/persons/find", body, uuid());
    if (status >= 300) return tell("bad", sentence(data));
    place.replaceChildren(...data.persons.map(shown));
    if (!data.persons.length) place.textContent = form.dataset.none;
  } catch (fault) {
    tell("bad", fault.message);
  }
});
