// A background of tiles: from a server, or out of one PMTiles file, whose tiles are pictures or shapes.

const { L } = globalThis;

const CLOSEST = 19;
const SHAPES = 1; // the tile type of vector tiles [PMTiles version 3, section 3]

/** Return a layer of the tiles that a server has at URL. */
export function served({ url, attribution }) {
  return L.tileLayer(url, { attribution: plain(attribution), maxZoom: CLOSEST, detectRetina: true, referrerPolicy: "no-referrer" });
}

/** Tiles out of a PMTiles file: read by ranges, and drawn anew where the colours change. */
export class Archive {
  #archive = null;
  #header = null;
  #layer = null;

  constructor({ url, attribution }) {
    this.url = new URL(url, document.baseURI).href;
    this.attribution = plain(attribution);
  }

  /** Fetch what reads the file, and read what kind of tiles it has. */
  async open() {
    await script("vendor/pmtiles.js");
    this.#archive = new globalThis.pmtiles.PMTiles(this.url);
    this.#header = await this.#archive.getHeader();
    if (this.#header.tileType === SHAPES) await script("vendor/protomaps-leaflet.js");
  }

  /** Draw the tiles on MAP, in colours for the DARK or not. */
  addTo(map, dark) {
    const { minZoom, maxZoom, tileType } = this.#header;
    if (this.#layer !== null && tileType !== SHAPES) return;
    this.#layer?.remove();
    const options = { attribution: this.attribution, maxZoom: CLOSEST };
    if (tileType === SHAPES) this.#layer = shapes(this.#archive, dark, { ...options, maxDataZoom: maxZoom });
    else this.#layer = new Pictures(this.#archive, { ...options, minNativeZoom: minZoom, maxNativeZoom: maxZoom });
    this.#layer.addTo(map);
  }
}

function shapes(url, dark, options) {
  const layer = globalThis.protomapsL.leafletLayer({ ...options, url, flavor: dark ? "dark" : "light" });
  layer.backgroundColor = undefined; // where the file ends, the land below shows
  return layer;
}

/** Pictures on canvases: as images they would need addresses of a kind that our policy forbids. */
const Pictures = L.GridLayer.extend({
  initialize(archive, options) {
    L.GridLayer.prototype.initialize.call(this, options);
    this._archive = archive;
  },

  createTile(coords, done) {
    const canvas = document.createElement("canvas");
    const size = this.getTileSize();
    canvas.width = size.x * (window.devicePixelRatio || 1);
    canvas.height = size.y * (window.devicePixelRatio || 1);
    this._paint(canvas, coords).then(
      () => done(null, canvas),
      (error) => done(error, canvas),
    );
    return canvas;
  },

  async _paint(canvas, { z, x, y }) {
    const tile = await this._archive.getZxy(z, x, y);
    if (tile === undefined) return;
    const picture = await createImageBitmap(new Blob([tile.data]));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
  },
});

/** Return TEXT as the markup that shows it: Leaflet takes attributions as markup. */
function plain(text) {
  return new Option(text).innerHTML;
}

function script(src) {
  return new Promise((resolve, reject) => {
    const node = document.createElement("script");
    node.src = src;
    node.addEventListener("load", resolve);
    node.addEventListener("error", () => reject(new Error(`${src} is not there`)));
    document.head.append(node);
  });
}
