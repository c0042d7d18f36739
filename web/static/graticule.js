// Lines of latitude and longitude, for a map that has no streets: they tell where one is when only land is left in view.

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const APART = 140;

/** Draw the lines within BOUNDS (layer points) of MAP, about 140 pixels apart, with their degrees. */
export function graticule(context, map, bounds, colours) {
  const northWest = map.layerPointToLatLng(bounds.min);
  const southEast = map.layerPointToLatLng(bounds.max);
  const degreesPerPixel = (southEast.lng - northWest.lng) / bounds.getSize().x;
  const step = STEPS.findLast((each) => each >= degreesPerPixel * APART) ?? STEPS[0];
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const view = map.containerPointToLayerPoint([0, 0]).subtract(bounds.min);
  const style = { context, digits, view, size: bounds.getSize() };
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.off;
  context.lineWidth = 1;
  context.font = "11px system-ui, sans-serif";
  for (const lng of multiples(northWest.lng, southEast.lng, step)) {
    meridian(map.latLngToLayerPoint([0, lng]).x - bounds.min.x, lng, style);
  }
  for (const lat of multiples(Math.max(-85, southEast.lat), Math.min(85, northWest.lat), step)) {
    parallel(map.latLngToLayerPoint([lat, 0]).y - bounds.min.y, lat, style);
  }
}

function meridian(x, lng, { context, digits, view, size }) {
  line(context, x, 0, x, size.y);
  const east = ((((lng + 180) % 360) + 360) % 360) - 180;
  context.textBaseline = "top";
  context.fillText(`${Math.abs(east).toFixed(digits)}° ${east < 0 ? "W" : "E"}`, x + 4, view.y + 5);
}

function parallel(y, lat, { context, digits, view, size }) {
  line(context, 0, y, size.x, y);
  context.textBaseline = "bottom";
  context.fillText(`${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`, view.x + 52, y - 3);
}

function line(context, x, y, toX, toY) {
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, Math.round(y) + 0.5);
  context.lineTo(Math.round(toX) + 0.5, Math.round(toY) + 0.5);
  context.stroke();
}

function* multiples(from, to, step) {
  for (let count = Math.ceil(from / step); count * step <= to; count += 1) yield count * step;
}
