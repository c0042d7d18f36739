// Copies what the page needs of its libraries, with their licences, from node_modules to static/vendor: `make web`.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "static", "vendor");

const WANTED = {
  leaflet: { "dist/leaflet.js": "leaflet.js", "dist/leaflet.css": "leaflet.css" },
  pmtiles: { "dist/pmtiles.js": "pmtiles.js" },
  "protomaps-leaflet": { "dist/protomaps-leaflet.js": "protomaps-leaflet.js" },
  mqtt: { "dist/mqtt.min.js": "mqtt.js" },
  "topojson-client": { "dist/topojson-client.min.js": "topojson-client.js" },
  "world-atlas": { "countries-50m.json": "countries.json" },
};

/** Packages that lack the text of their licence, with one of the same authors under the same licence. */
const LICENSED_AS = { pmtiles: "protomaps-leaflet" };

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const [name, files] of Object.entries(WANTED)) {
  const source = join(here, "node_modules", name);
  for (const [from, to] of Object.entries(files)) copyFileSync(join(source, from), join(target, to));
  const licensed = join(here, "node_modules", LICENSED_AS[name] ?? name);
  const licence = readdirSync(licensed).find((file) => /^licen[cs]e/i.test(file));
  copyFileSync(join(licensed, licence), join(target, `${name}.licence.txt`));
}
