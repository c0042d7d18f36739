// Everybody on the map, on one canvas: ten thousand signs are copied from four bitmaps, a few times a second at most.

import { batched } from "./frames.js";
import { graticule } from "./graticule.js";
import { bitmaps } from "./signs.js";
import { numberText } from "./words.js";

const { L } = globalThis;

const SIZE = 20;
const GLIDE_MS = 500;
const MOST_GLIDING = 1500;
const REST = 10; // times as long as drawing took: a slow machine is left in peace
const DENSE = 4; // pixels
const MOST_NAMES = 120;
const NAMES_FROM_ZOOM = 12;
const REACH = 14;
const CELL = 28;
const LINE = 13;
const MOST_CROWDS = 40;
const LAYERS = ["off", "online", "away", "silent"]; // the most urgent on top

export const Marks = L.Renderer.extend({
  /** PEOPLE are drawn, with a graticule below them where there are NO TILES. */
  initialize(people, withGraticule) {
    L.Renderer.prototype.initialize.call(this, { padding: 0.2, pane: "markerPane" });
    this._people = people;
    this._withGraticule = withGraticule;
    this._selected = null;
    this._shown = () => true;
    this._glides = new Map();
    this._soon = batched(() => this._map && this._draw());
    this._slowly = batched(() => this._map && this._draw(), () => Math.max(250, this._tookMs * REST));
    this._tookMs = 0;
  },

  _initContainer() {
    this._container = document.createElement("canvas");
    this._container.setAttribute("aria-hidden", "true");
    this._context = this._container.getContext("2d");
    this.restyle();
  },

  _destroyContainer() {
    this._container.remove();
  },

  _updatePaths() {},

  _update() {
    if (this._map._animatingZoom && this._bounds) return;
    L.Renderer.prototype._update.call(this);
    const ratio = window.devicePixelRatio || 1;
    const size = this._bounds.getSize();
    L.DomUtil.setPosition(this._container, this._bounds.min);
    this._container.width = Math.round(size.x * ratio);
    this._container.height = Math.round(size.y * ratio);
    this._container.style.width = `${size.x}px`;
    this._container.style.height = `${size.y}px`;
    this._draw();
  },

  /** Take the colours of the style sheet anew. */
  restyle() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this._colours = Object.fromEntries(["online", "away", "silent", "off", "edge", "text", "grid", "accent"].map((name) => [name, colour(name)]));
    this._bitmaps = bitmaps(SIZE, window.devicePixelRatio || 1, this._colours);
    this._soon();
  },

  select(user) {
    this._selected = user;
    this._soon();
  },

  /** Draw only those for whom SHOWN answers yes. */
  filter(shown) {
    this._shown = shown;
    this._soon();
  },

  changed() {
    if (this._people.size > MOST_GLIDING) this._slowly();
    else this._soon();
  },

  /** Let PERSON glide from where it was, at FROM, instead of jumping. */
  glide(person, from) {
    if (this._people.size <= MOST_GLIDING && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this._glides.set(person.user, { from, start: performance.now() });
    }
    this.changed();
  },

  /** Return whoever is drawn nearest to POINT of the map's container, within reach. */
  near(point) {
    const place = this._map.containerPointToLayerPoint(point);
    const scale = this._scale();
    let found = null;
    let closest = REACH * REACH;
    for (const person of this._people.values()) {
      if (person.lat === null || !this._shown(person)) continue;
      const dx = person.x * scale.size - scale.x - place.x;
      const dy = person.y * scale.size - scale.y - place.y;
      const distance = dx * dx + dy * dy;
      if (distance <= closest) [found, closest] = [person, distance];
    }
    return found;
  },

  _scale() {
    const origin = this._map.getPixelOrigin();
    return { size: 256 * 2 ** this._map.getZoom(), x: origin.x, y: origin.y };
  },

  _draw() {
    const started = performance.now();
    const ratio = window.devicePixelRatio || 1;
    const context = this._context;
    const { min } = this._bounds;
    const size = this._bounds.getSize();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.x, size.y);
    if (this._withGraticule) graticule(context, this._map, this._bounds, this._colours);
    const placed = this._placed(min, size);
    for (const kind of LAYERS) this._stamp(context, placed[kind], this._bitmaps[kind]);
    this._ring(context, min);
    const all = LAYERS.toReversed().flatMap((kind) => placed[kind]); // where names meet, the most urgent is written
    if (this._map.getZoom() >= NAMES_FROM_ZOOM && all.length <= MOST_NAMES) this._label(context, all);
    else this._label(context, crowds(all));
    this._stamp(context, placed.silent, this._bitmaps.silent); // no name hides them
    if (this._glides.size) this._soon();
    this._tookMs = performance.now() - started;
  },

  /** Return by kind who lies on the canvas, and where. */
  _placed(min, size) {
    const placed = { off: [], online: [], away: [], silent: [] };
    const scale = this._scale();
    const now = performance.now();
    for (const person of this._people.values()) {
      if (person.lat === null || !this._shown(person)) continue;
      const at = this._glides.size ? this._gliding(person, now) : person;
      const x = at.x * scale.size - scale.x - min.x;
      const y = at.y * scale.size - scale.y - min.y;
      if (x > -SIZE && y > -SIZE && x < size.x + SIZE && y < size.y + SIZE) placed[person.kind].push({ x, y, label: person.user });
    }
    return placed;
  },

  _gliding(person, now) {
    const glide = this._glides.get(person.user);
    if (glide === undefined) return person;
    const part = (now - glide.start) / GLIDE_MS;
    if (part >= 1) {
      this._glides.delete(person.user);
      return person;
    }
    const eased = part * (2 - part);
    return { x: glide.from.x + (person.x - glide.from.x) * eased, y: glide.from.y + (person.y - glide.from.y) * eased };
  },

  /** Stamp BITMAP on PLACES. Where there are many, whole pixels are quicker, and one sign hides another that lies just below. */
  _stamp(context, places, bitmap) {
    if (this._people.size <= MOST_GLIDING) {
      for (const { x, y } of places) context.drawImage(bitmap, x - SIZE / 2, y - SIZE / 2, SIZE, SIZE);
      return;
    }
    const taken = new Set();
    for (const { x, y } of places) {
      const cell = Math.round(x / DENSE) * 65_536 + Math.round(y / DENSE);
      if (taken.has(cell)) continue;
      taken.add(cell);
      context.drawImage(bitmap, Math.round(x - SIZE / 2), Math.round(y - SIZE / 2), SIZE, SIZE);
    }
  },

  _ring(context, min) {
    const person = this._selected === null ? undefined : this._people.get(this._selected);
    if (person === undefined || person.lat === null) return;
    const scale = this._scale();
    const at = this._gliding(person, performance.now());
    const x = at.x * scale.size - scale.x - min.x;
    const y = at.y * scale.size - scale.y - min.y;
    const metre = scale.size / (40_075_017 * Math.cos((person.lat * Math.PI) / 180));
    const reach = (person.accuracy ?? 0) * metre;
    if (reach > SIZE / 2 && reach < 2000) this._circle(context, x, y, reach, 1.5, 0.12);
    this._circle(context, x, y, SIZE * 0.72, 3, 0);
    context.drawImage(this._bitmaps[person.kind], x - SIZE / 2, y - SIZE / 2, SIZE, SIZE);
  },

  _circle(context, x, y, radius, width, filled) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = context.fillStyle = this._colours.accent;
    context.globalAlpha = filled;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = width;
    context.stroke();
  },

  _label(context, places) {
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = this._colours.edge;
    context.fillStyle = this._colours.text;
    const written = [];
    for (const { x, y, label } of places) {
      if (written.some((other) => Math.abs(other.y - y) < LINE && Math.abs(other.x - x) < other.width)) continue;
      written.push({ x, y, width: context.measureText(label).width + SIZE });
      const left = x + SIZE * (label === this._selected ? 1.05 : 0.7); // beside the ring
      context.strokeText(label, left, y);
      context.fillText(label, left, y);
    }
  },
});

/** Return where several of PLACES lie on top of each other, with how many; none where that is so everywhere. */
function crowds(places) {
  const cells = new Map();
  for (const { x, y } of places) {
    const cell = `${Math.floor(x / CELL)} ${Math.floor(y / CELL)}`;
    const crowd = cells.get(cell);
    if (crowd) crowd.label += 1;
    else cells.set(cell, { x, y, label: 1 });
  }
  const found = [...cells.values()].filter((crowd) => crowd.label > 2);
  return found.length <= MOST_CROWDS ? found.map((crowd) => ({ ...crowd, label: numberText(crowd.label) })) : [];
}
