// Everything that is shown while somebody is signed in, and what moves it: messages, the clock, and the viewer.

import { Api } from "./api.js";
import { Banner } from "./banner.js";
import { Connection } from "./connection.js";
import { byId, element, say } from "./dom.js";
import { Feed } from "./feed.js";
import { batched } from "./frames.js";
import { FieldMap } from "./map.js";
import { counted, listed } from "./order.js";
import { People } from "./people.js";
import { PersonPanel } from "./person.js";
import { Roster } from "./roster.js";
import { sign } from "./signs.js";
import { KINDS, eventText, numberText } from "./words.js";

const decoder = new TextDecoder();

export class Board {
  #people = new People();
  #filter = { kind: "all", search: "", order: "urgency" };
  #selected = null;
  #asking = null;
  #trail = null;
  #connection = null;
  #placed = false;

  constructor(config, clock) {
    this.clock = clock;
    const pick = (user) => this.pick(user);
    this.banner = new Banner(clock, () => this.#connection.ask());
    this.roster = new Roster(clock, pick);
    this.panel = new PersonPanel(clock, () => this.pick(null));
    this.feed = new Feed(clock, pick);
    this.map = new FieldMap(this.#people, config.tiles, pick);
    this.relist = batched(() => this.#relist(), () => (this.#people.size > 2000 ? 1000 : 250));
    this.redraw = batched(() => this.panel.draw());
    this.#controls();
    setInterval(() => this.#tick(), 1000);
  }

  /** Connect as VISITOR to the broker at URL; ENTERED, UNREACHABLE and REFUSED are called when that is so. */
  open(url, visitor, { entered, unreachable, refused }) {
    if (byId("company").textContent !== visitor.company) this.#forget();
    this.api = new Api(visitor.company, visitor.token);
    say(byId("company"), visitor.company);
    this.#connection = new Connection(url, visitor, {
      up: () => {
        this.banner.connected(true);
        entered();
        this.#catchUp();
      },
      down: () => {
        this.banner.connected(false);
        unreachable();
      },
      refused,
      heard: () => this.banner.heard(),
      message: (topic, payload) => this.#take(topic, payload),
    });
  }

  close() {
    this.#connection?.close();
  }

  /** Forget what was seen of another company. */
  #forget() {
    this.pick(null);
    this.#people.clear();
    this.feed.clear();
    this.#placed = false;
    this.relist();
    this.map.marks.changed();
  }

  async #catchUp() {
    try {
      const { items } = await this.api.get("events", { order: "newest", limit: 60 });
      this.feed.add(items);
      if (this.#selected !== null) this.#ask(this.#selected);
    } catch (error) {
      console.warn(`no events from before: ${error.message}`);
    }
  }

  #take(topic, payload) {
    const [, , channel, user] = topic.split("/");
    let said = null;
    try {
      said = payload.length ? JSON.parse(decoder.decode(payload)) : null;
    } catch {
      return; // devices may publish what they like on `presence`; the service keeps what it refuses
    }
    if (said !== null && (typeof said !== "object" || Array.isArray(said))) return;
    if (topic === "fieldbeat/service") this.banner.service(said ?? { online: false });
    else if (channel === "state") this.#takeState(user, said);
    else if (channel === "presence" && said !== null) this.#takePresence(user, said);
    else if (channel === "events" && said !== null) this.#takeEvent(said);
  }

  #takeState(user, state) {
    const before = this.#people.get(user);
    const from = before && { x: before.x, y: before.y, lat: before.lat };
    const person = this.#people.takeState(user, state);
    this.#moved(person, from);
    this.relist();
    if (user === this.#selected) this.redraw();
  }

  #takePresence(user, said) {
    const known = this.#people.get(user);
    const from = known && { x: known.x, y: known.y, lat: known.lat };
    const person = this.#people.takePresence(user, said, this.clock());
    if (person === undefined) return;
    this.#moved(person, from);
    if (user !== this.#selected || this.#trail === null) return;
    const properties = { device: said.device ?? "default", at: new Date(person.fixAt).toISOString() };
    this.#trail.push({ geometry: { coordinates: [person.lon, person.lat] }, properties });
    this.map.trail(this.#trail);
  }

  #moved(person, from) {
    if (person && from?.lat !== null && from !== undefined && (from.x !== person.x || from.y !== person.y)) this.map.marks.glide(person, from);
    else this.map.marks.changed();
  }

  #takeEvent(event) {
    const [fresh] = this.feed.add([event]);
    if (fresh === undefined) return;
    if (event.userId === this.#selected) this.panel.add(event);
    if (event.type === "user:offline" && event.reason !== "signed_off") say(byId("announcements"), `${event.userId} ${eventText(event)}`);
  }

  /** Show USER closely, nobody with null. */
  pick(user) {
    const person = user === null ? null : (this.#people.get(user) ?? null);
    this.#selected = person?.user ?? null;
    this.#trail = null;
    this.map.trail(null);
    this.map.marks.select(this.#selected);
    this.roster.select(this.#selected);
    this.panel.show(person);
    byId("views").querySelector("[data-view=person]").disabled = person === null;
    this.#view(person === null ? "people" : "person");
    if (person === null) return;
    this.map.show(person);
    this.#ask(person.user);
  }

  async #ask(user) {
    this.#asking?.abort();
    this.#asking = new AbortController();
    const midnight = new Date(this.clock()).setHours(0, 0, 0, 0);
    try {
      const day = await this.api.day(user, midnight, this.#asking.signal);
      if (user !== this.#selected) return;
      this.#trail = day.track.features;
      this.map.trail(this.#trail);
      this.panel.tell(day);
    } catch (error) {
      if (error.name !== "AbortError" && user === this.#selected) this.panel.tell(null, `Not known: ${error.message}.`);
    }
  }

  #relist() {
    const people = listed(this.#people.values(), this.#filter);
    this.roster.list(people, this.#people.size);
    const counts = counted(this.#people.values());
    for (const button of byId("filters").children) say(button.querySelector(".number"), numberText(counts[button.value]));
    if (!this.#placed && counts.all > 0) {
      this.#placed = true;
      setTimeout(() => this.map.fit(), 300); // the retained states come one by one
    }
  }

  #controls() {
    const filters = byId("filters");
    for (const [kind, title] of Object.entries({ all: "All", ...KINDS })) {
      const button = element("button", { type: "button", value: kind, "aria-pressed": kind === "all" });
      button.append(...(kind === "all" ? [] : [sign(kind)]), element("span", {}, title), element("span", { class: "number" }, "0"));
      button.addEventListener("click", () => this.#show(kind));
      filters.append(button);
      if (kind !== "all") byId("legend").append(element("li", {}, sign(kind), title));
    }
    byId("search").addEventListener("input", (event) => this.#refilter({ search: event.target.value }));
    byId("sort").addEventListener("change", (event) => this.#refilter({ order: event.target.value }));
    byId("fit").addEventListener("click", () => this.map.fit(true));
    byId("views").addEventListener("click", (event) => event.target.dataset.view && this.#view(event.target.dataset.view));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #show(kind) {
    for (const button of byId("filters").children) button.setAttribute("aria-pressed", button.value === kind);
    this.map.marks.filter(kind === "all" ? () => true : (person) => person.kind === kind);
    this.#refilter({ kind });
  }

  #refilter(change) {
    Object.assign(this.#filter, change);
    byId("roster").scrollTop = 0;
    this.#relist();
  }

  #key(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && this.#selected !== null) {
      this.pick(null);
      byId("roster").focus();
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("search").focus();
    }
  }

  #view(view) {
    document.body.dataset.view = view;
    for (const button of byId("views").children) button.setAttribute("aria-pressed", button.dataset.view === view);
  }

  #tick() {
    this.banner.tick();
    this.roster.draw();
    this.panel.tick();
  }
}
