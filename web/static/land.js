// The outlines of the countries, made fit for a flat map: a ring that crosses the antimeridian goes on past it instead of back across the world.

const { topojson } = globalThis;

/** Return the countries of ATLAS (TopoJSON) as GeoJSON. */
export function countries(atlas) {
  const land = topojson.feature(atlas, atlas.objects.countries);
  for (const { geometry } of land.features) {
    const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    for (const rings of polygons) rings.forEach((ring, place) => (rings[place] = unrolled(ring)));
  }
  return land;
}

/** Return RING with no step over half the world; one that goes round a pole is left as it is. */
export function unrolled(ring) {
  let turns = 0;
  const rolled = ring.map(([lng, lat], place) => {
    const step = place === 0 ? 0 : lng - ring[place - 1][0];
    if (step > 180) turns -= 1;
    else if (step < -180) turns += 1;
    return [lng + 360 * turns, lat];
  });
  return turns === 0 ? rolled : ring;
}
