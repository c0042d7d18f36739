// One person, as closely as is known: how and where, with which devices, doing what, and the day so far.

import { byId, element, say } from "./dom.js";
import { sign } from "./signs.js";
import { spans, strip } from "./spans.js";
import { activityText, ageText, durationText, eventText, standingText, timeText } from "./words.js";

const DAY = 24 * 3600_000;
const MOST_EVENTS = 30;

export class PersonPanel {
  #box = byId("person");
  #parts = {};
  #person = null;
  #day = null;
  #trouble = "";

  constructor(clock, onClose) {
    this.clock = clock;
    const close = element("button", { type: "button", class: "close", click: onClose, "aria-label": "Close" }, "×");
    for (const name of ["standing", "text", "facts", "devices", "strip", "activity", "events"]) this.#parts[name] = element("div", { class: name });
    this.#parts.name = element("h2", { id: "person-name", tabindex: -1 });
    const { name, standing, text, facts, devices, activity, events } = this.#parts;
    const part = (title, ...content) => element("div", { class: "part" }, element("h3", {}, title), ...content);
    this.#box.append(
      element("div", { class: "head" }, name, close),
      standing,
      text,
      facts,
      part("Devices", devices),
      part("Online and offline", this.#parts.strip),
      part("Activity today", activity),
      part("Events", events),
    );
  }

  /** Show PERSON, nobody with null; what the day was comes with `tell`. */
  show(person) {
    if (person?.user !== this.#person?.user) {
      this.#day = null;
      this.#trouble = "";
    }
    this.#person = person;
    this.#box.hidden = person === null;
    if (person !== null) this.draw();
  }

  /** Add what the read API told of the DAY, or why it told nothing. */
  tell(day, trouble = "") {
    this.#day = day;
    this.#trouble = trouble;
    this.#drawDay();
  }

  /** Add an EVENT that just happened. */
  add(event) {
    if (this.#day === null || this.#day.events.some((known) => known.id === event.id)) return;
    this.#day.events.unshift(event);
    this.#drawDay();
  }

  draw() {
    const person = this.#person;
    if (person === null) return;
    const { name, standing, text, devices } = this.#parts;
    say(name, person.user);
    standing.replaceChildren(sign(person.kind), element("strong", {}, standingText(person)));
    text.replaceChildren(...(person.message === null ? [] : [element("q", {}, person.message)]));
    devices.replaceChildren(...person.devices.map((device) => this.#device(device)));
    this.tick();
    this.#drawDay();
  }

  /** Bring the ages up to date. */
  tick() {
    const person = this.#person;
    if (person === null) return;
    const now = this.clock();
    const place = person.lat === null ? "unknown" : `${person.lat.toFixed(5)}, ${person.lon.toFixed(5)}`;
    const accuracy = person.accuracy === null || person.lat === null ? "" : ` ± ${Math.round(person.accuracy)} m`;
    const rows = [
      ["For", ageText(person.since, now)],
      ["Last seen", person.lastSeen === null ? "never" : `${ageText(person.lastSeen, now)} ago`],
      ["Works on", activityText(person.project, person.task) || "nothing"],
      ["Position", place + accuracy],
      ["Position taken", person.fixAt === null ? "never" : `${ageText(person.fixAt, now)} ago`],
    ];
    const { facts } = this.#parts;
    if (facts.childElementCount === 0) facts.append(element("dl", {}, rows.flatMap(([title]) => [element("dt", {}, title), element("dd")])));
    const values = facts.querySelectorAll("dd");
    rows.forEach(([, value], place) => say(values[place], value));
  }

  #device({ device, status, lastSeen, battery }) {
    const level = element("meter", { min: 0, max: 100, low: 20, high: 50, optimum: 100, value: battery ?? 0, "aria-label": `Battery of ${device}` });
    return element(
      "div",
      { class: "device", "data-status": status },
      element("span", { class: "device-name" }, device),
      element("span", { class: "quiet" }, status === "offline" ? `offline, seen ${ageText(lastSeen, this.clock())} ago` : status),
      battery === null ? null : element("span", { class: "battery" }, level, ` ${Math.round(battery)} %`),
    );
  }

  #drawDay() {
    const { activity, events } = this.#parts;
    if (this.#day === null) {
      for (const part of [this.#parts.strip, activity, events]) part.replaceChildren(element("p", { class: "quiet" }, this.#trouble || "…"));
      return;
    }
    const now = this.clock();
    this.#parts.strip.replaceChildren(strip(spans(this.#person, this.#day.events, now - DAY, now), now));
    activity.replaceChildren(list(this.#day.activity.map(activityRow), "Nothing yet."));
    events.replaceChildren(list(this.#day.events.slice(0, MOST_EVENTS).map((event) => eventRow(event, now)), "Nothing yet."));
  }
}

function list(items, nothing) {
  return items.length ? element("ol", {}, items) : element("p", { class: "quiet" }, nothing);
}

function activityRow({ projectId, taskId, from, to, seconds }) {
  const times = `${timeText(Date.parse(from))}–${to === null ? "now" : timeText(Date.parse(to))}`;
  return element(
    "li",
    {},
    element("time", { datetime: from }, times),
    element("span", {}, activityText(projectId, taskId)),
    element("span", { class: "quiet" }, durationText(seconds * 1000)),
  );
}

function eventRow(event, now) {
  return element("li", {}, element("time", { datetime: event.timestamp }, timeText(Date.parse(event.timestamp), now)), element("span", {}, eventText(event)));
}
