// The list of people: only the rows in view exist, so that ten thousand scroll as ten do.

import { byId, element, say } from "./dom.js";
import { sign } from "./signs.js";
import { activityText, ageText, numberText, standingText } from "./words.js";

const ROW = 60;
const SPARE = 4;

export class Roster {
  #box = byId("roster");
  #inner = element("div", { class: "rows", role: "presentation" });
  #rows = new Map();
  #people = [];
  #selected = null;
  #active = 0;

  /** ON_PICK is called with the user whose row is chosen. */
  constructor(clock, onPick) {
    this.clock = clock;
    this.onPick = onPick;
    this.#box.append(this.#inner);
    this.#box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("focus", () => this.#mark());
    this.#inner.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.#pick(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.draw()).observe(this.#box);
  }

  /** List PEOPLE, of all of whom there are TOTAL. */
  list(people, total) {
    const active = this.#people[this.#active]?.user;
    this.#people = people;
    const place = people.findIndex((person) => person.user === active);
    this.#active = place >= 0 ? place : Math.max(0, Math.min(this.#active, people.length - 1));
    this.#inner.style.height = `${people.length * ROW}px`;
    say(byId("roster-count"), countText(people.length, total));
    this.draw();
  }

  select(user) {
    this.#selected = user;
    const place = this.#people.findIndex((person) => person.user === user);
    if (place >= 0) {
      this.#active = place;
      this.#reveal(place);
    }
    this.draw();
  }

  /** Draw the rows in view anew; ages too. */
  draw() {
    const first = Math.max(0, Math.floor(this.#box.scrollTop / ROW) - SPARE);
    const last = Math.min(this.#people.length, Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / ROW) + SPARE);
    const keep = new Set();
    for (let place = first; place < last; place += 1) {
      const person = this.#people[place];
      keep.add(person.user);
      const row = this.#rows.get(person.user) ?? this.#add(person.user);
      row.show(person, place, this.#people.length, person.user === this.#selected, this.clock());
      row.node.classList.toggle("active", place === this.#active);
    }
    for (const [user, row] of this.#rows) {
      if (!keep.has(user)) {
        row.node.remove();
        this.#rows.delete(user);
      }
    }
    this.#mark();
  }

  #add(user) {
    const row = new Row(user);
    this.#rows.set(user, row);
    this.#inner.append(row.node);
    return row;
  }

  #mark() {
    const row = this.#rows.get(this.#people[this.#active]?.user);
    if (row) this.#box.setAttribute("aria-activedescendant", row.node.id);
    else this.#box.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      this.#active = Math.max(0, Math.min(this.#people.length - 1, this.#active + steps[event.key]));
      this.#reveal(this.#active);
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") this.#pick(this.#active);
    else return;
    event.preventDefault();
  }

  #pick(place) {
    const person = this.#people[place];
    if (person === undefined) return;
    this.#active = place;
    this.onPick(person.user);
  }

  #reveal(place) {
    const top = place * ROW;
    if (top < this.#box.scrollTop) this.#box.scrollTop = top;
    else if (top + ROW > this.#box.scrollTop + this.#box.clientHeight) this.#box.scrollTop = top + ROW - this.#box.clientHeight;
  }
}

function countText(shown, total) {
  if (total === 0) return "Nobody has been heard yet.";
  return shown === total ? `${numberText(total)} people` : `${numberText(shown)} of ${numberText(total)} people`;
}

/** One row; it changes only what has changed. */
class Row {
  #kind = "";
  #sign = element("span", { class: "where" });
  #name = element("span", { class: "name" });
  #what = element("span", { class: "what" });
  #standing = element("span", { class: "standing" });
  #age = element("span", { class: "age" });

  constructor(user) {
    const first = element("span", { class: "line" }, this.#name, this.#standing);
    const second = element("span", { class: "line" }, this.#what, this.#age);
    const lines = element("span", { class: "lines" }, first, second);
    this.node = element("div", { role: "option", id: `person-${user}`, class: "row" }, this.#sign, lines);
    say(this.#name, user);
  }

  show(person, place, total, selected, now) {
    const { node } = this;
    node.style.transform = `translateY(${place * ROW}px)`;
    node.dataset.place = place;
    node.setAttribute("aria-posinset", place + 1);
    node.setAttribute("aria-setsize", total);
    node.setAttribute("aria-selected", selected);
    if (this.#kind !== person.kind) {
      this.#kind = person.kind;
      this.#sign.replaceChildren(sign(person.kind));
      node.dataset.kind = person.kind;
    }
    const said = person.message === null ? "" : `“${person.message}”`;
    say(this.#what, [activityText(person.project, person.task), said].filter(Boolean).join(" · "));
    const low = person.battery !== null && person.battery <= 15 ? ` · ${Math.round(person.battery)} %` : "";
    say(this.#standing, standingText(person) + low);
    say(this.#age, ageText(person.status === "offline" ? person.since : person.lastSeen, now));
  }
}
