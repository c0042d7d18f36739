// The map: land from a file that comes with the page, or tiles where they are set; people and a trail on it.

import { byId } from "./dom.js";
import { countries } from "./land.js";
import { Marks } from "./marks.js";
import { Archive, served } from "./tiles.js";

const { L } = globalThis;

const DARK = "(prefers-color-scheme: dark)";
const PAUSE_MS = 10 * 60_000; // as long as what `simplify` of the read API keeps both ends of
const CLOSEST_FIT = 14;

export class FieldMap {
  #map;
  #land = null;
  #archive = null;
  #trail = null;
  #moved = false;

  /** Draw PEOPLE; TILES is {url, archive, attribution} or null; ON_PICK is called with whoever is clicked. */
  constructor(people, tiles, onPick) {
    this.people = people;
    this.#map = L.map("map", {
      attributionControl: tiles !== null,
      center: [25, 10],
      zoom: 3,
      minZoom: 2,
      maxZoom: 19,
      worldCopyJump: true,
      preferCanvas: true,
      zoomControl: false,
      keyboardPanDelta: 120,
    });
    L.control.zoom({ position: "topright" }).addTo(this.#map);
    L.control.scale({ position: "bottomright", imperial: false }).addTo(this.#map);
    this.#map.attributionControl?.setPrefix(false);
    if (tiles === null || tiles.archive) this.#drawLand();
    if (tiles?.archive) this.#openArchive(tiles);
    else if (tiles !== null) served(tiles).addTo(this.#map);
    this.marks = new Marks(people, tiles === null).addTo(this.#map);
    this.#map.on("dragstart", () => (this.#moved = true));
    this.#map.on("click", (event) => {
      const found = this.marks.near(event.containerPoint);
      if (found) onPick(found.user);
    });
    this.#map.on("mousemove", (event) => this.#hover(event.containerPoint));
    for (const query of [DARK, "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.#restyle());
    }
    new ResizeObserver(() => this.#map.invalidateSize({ pan: false })).observe(byId("map"));
  }

  async #openArchive(tiles) {
    const archive = new Archive(tiles);
    try {
      await archive.open();
    } catch (error) {
      console.warn(`no tiles: ${error.message}`);
      return;
    }
    this.#archive = archive;
    archive.addTo(this.#map, matchMedia(DARK).matches);
  }

  async #drawLand() {
    const atlas = await (await fetch("vendor/countries.json")).json();
    const pane = this.#map.createPane("land");
    pane.style.zIndex = 150; // below the tiles [Leaflet, map panes]
    pane.style.pointerEvents = "none";
    const renderer = L.canvas({ padding: 0.3, pane: "land" });
    const options = { interactive: false, renderer, style: () => this.#landStyle() };
    this.#land = L.geoJSON(countries(atlas), options).addTo(this.#map);
  }

  #landStyle() {
    const style = getComputedStyle(document.documentElement);
    return {
      color: style.getPropertyValue("--border-land").trim(),
      fillColor: style.getPropertyValue("--land").trim(),
      fillOpacity: 1,
      weight: 1,
    };
  }

  #restyle() {
    this.#land?.setStyle(this.#landStyle());
    this.#archive?.addTo(this.#map, matchMedia(DARK).matches);
    this.marks.restyle();
    this.#trail?.eachLayer((layer) => layer.setStyle(trailStyle(layer.options.casing)));
  }

  #hover(point) {
    const found = this.marks.near(point);
    const container = this.#map.getContainer();
    container.classList.toggle("pointing", found !== null);
    container.title = found?.user ?? "";
  }

  /** Show where people are, but for the few that are far off; unless somebody has moved the map already and it is not ASKED for. */
  fit(asked = false) {
    if (this.#moved && !asked) return;
    this.#moved = false;
    const placed = [...this.people.values()].filter((person) => person.lat !== null);
    if (!placed.length) return;
    const [south, north] = middle(placed.map((person) => person.lat));
    const [west, east] = middle(placed.map((person) => person.lon));
    const bounds = L.latLngBounds([south, west], [north, east]);
    this.#map.fitBounds(bounds, { padding: [50, 50], maxZoom: CLOSEST_FIT, animate: asked });
  }

  /** Show PERSON, closer if the map is far away. */
  show(person) {
    if (person.lat === null) return;
    const zoom = Math.max(this.#map.getZoom(), 13);
    this.#moved = true;
    this.#map.setView([person.lat, person.lon], zoom, { animate: !matchMedia("(prefers-reduced-motion: reduce)").matches });
  }

  /** Draw the trail of FEATURES, each device's for itself and cut where it paused; none with null. */
  trail(features) {
    this.#trail?.remove();
    this.#trail = null;
    if (features === null) return;
    const lines = stretches(features);
    const draw = (casing) => L.polyline(lines, { ...trailStyle(casing), casing, interactive: false, smoothFactor: 1.2 });
    this.#trail = L.layerGroup([draw(true), draw(false)]).addTo(this.#map);
  }
}

function trailStyle(casing) {
  const style = getComputedStyle(document.documentElement);
  return { color: style.getPropertyValue(casing ? "--edge" : "--trail").trim(), weight: casing ? 6 : 3, opacity: casing ? 0.8 : 1 };
}

/** Return the lines that FEATURES make: by device, cut where it paused. */
export function stretches(features) {
  const byDevice = new Map();
  for (const { geometry, properties } of features) {
    const [lng, lat] = geometry.coordinates;
    const at = Date.parse(properties.at);
    const lines = byDevice.get(properties.device) ?? [];
    byDevice.set(properties.device, lines);
    const last = lines.at(-1);
    if (last === undefined || at - last.until > PAUSE_MS) lines.push({ until: at, points: [[lat, lng]] });
    else {
      last.until = at;
      last.points.push([lat, lng]);
    }
  }
  return [...byDevice.values()].flat().map((line) => line.points);
}

/** Return the bounds of VALUES without the outermost fiftieth at each end. */
function middle(values) {
  const sorted = values.sort((a, b) => a - b);
  const cut = Math.floor(sorted.length / 50);
  return [sorted[cut], sorted[sorted.length - 1 - cut]];
}
