// What happened, newest first: each event once, however often it comes.

import { byId, element } from "./dom.js";
import { batched } from "./frames.js";
import { eventText, timeText } from "./words.js";

const MOST = 100;

export class Feed {
  #list = byId("feed-list");
  #events = [];
  #known = new Set();
  #draw = batched(() => this.#render(), () => 200);

  constructor(clock, onPick) {
    this.clock = clock;
    this.onPick = onPick;
  }

  /** Add EVENTS; return those that were not known. */
  add(events) {
    const fresh = events.filter((event) => typeof event?.id === "string" && !this.#known.has(event.id));
    if (!fresh.length) return fresh;
    for (const event of fresh) this.#known.add(event.id);
    this.#events = [...fresh, ...this.#events].sort(newestFirst);
    for (const event of this.#events.splice(MOST)) this.#known.delete(event.id);
    this.#draw();
    return fresh;
  }

  clear() {
    this.#events = [];
    this.#known.clear();
    this.#draw();
  }

  #render() {
    const now = this.clock();
    this.#list.replaceChildren(
      ...this.#events.map((event) =>
        element(
          "li",
          { "data-type": event.type },
          element("time", { datetime: event.timestamp }, timeText(Date.parse(event.timestamp), now, true)),
          element("span", {}, element("button", { type: "button", click: () => this.onPick(event.userId) }, String(event.userId)), ` ${eventText(event)}`),
        ),
      ),
    );
  }
}

function newestFirst(a, b) {
  return Date.parse(b.timestamp) - Date.parse(a.timestamp) || (a.id < b.id ? 1 : -1);
}
