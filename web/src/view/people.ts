// Who is in the room.

import { el, hue } from "../dom";
import { initials, type Person } from "../identity";

const maxShown = 40;

/** showPeople lists the people; the first one is this tab's own. */
export function showPeople(list: HTMLElement, count: HTMLElement, people: Person[]): void {
  count.textContent = String(people.length);
  const rows = people.slice(0, maxShown).map((person, index) => {
    const row = el("li", { title: person.edge === "" ? person.name : `${person.name}, at ${person.edge}` },
      el("span", { class: "badge", "aria-hidden": "true" }, initials(person.name)),
      el("span", { class: "name" }, person.name, index === 0 && el("i", {}, " you")),
      el("span", { class: "where" }, person.edge));
    hue(row, person.hue);
    return row;
  });
  if (people.length > maxShown) rows.push(el("li", { class: "more" }, `and ${people.length - maxShown} more`));
  list.replaceChildren(...rows);
}
