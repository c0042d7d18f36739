// Lines of latitude and longitude, for a map that has no streets: they tell where one is when only land is left in view.

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const APART = 140;
const LETTERS = 11;
const ON_TOP = ".fit, .legend, .leaflet-control-zoom";

/** Draw the lines within BOUNDS (layer points) of MAP, about 140 pixels apart, with their degrees. */
export function graticule(context, map, bounds, colours) {
  const northWest = map.layerPointToLatLng(bounds.min);
  const southEast = map.layerPointToLatLng(bounds.max);
  const degreesPerPixel = (southEast.lng - northWest.lng) / bounds.getSize().x;
  const step = STEPS.findLast((each) => each >= degreesPerPixel * APART) ?? STEPS[0];
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const view = map.containerPointToLayerPoint([0, 0]).subtract(bounds.min);
  const style = { context, digits, view, size: bounds.getSize(), edge: view.x + map.getSize().x, covered: covered(map, view) };
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.off;
  context.lineWidth = 1;
  context.font = `${LETTERS}px system-ui, sans-serif`;
  for (const lng of multiples(northWest.lng, southEast.lng, step)) {
    meridian(map.latLngToLayerPoint([0, lng]).x - bounds.min.x, lng, style);
  }
  for (const lat of multiples(Math.max(-85, southEast.lat), Math.min(85, northWest.lat), step)) {
    parallel(map.latLngToLayerPoint([lat, 0]).y - bounds.min.y, lat, style);
  }
}

/** Return the boxes of what lies on top of MAP, on the canvas where the VIEW begins there. */
function covered(map, view) {
  const container = map.getContainer();
  const frame = container.getBoundingClientRect();
  return [...container.parentElement.querySelectorAll(ON_TOP)].map((node) => {
    const box = node.getBoundingClientRect();
    const [left, top] = [box.left - frame.left + view.x, box.top - frame.top + view.y];
    return { left, top, right: left + box.width, bottom: top + box.height };
  });
}

/** Return the box of COVERED that a text of WIDTH at X, Y would run under. */
function over(covered, x, y, width) {
  return covered.find(({ left, top, right, bottom }) => x < right && left < x + width && y < bottom && top < y + LETTERS);
}

function meridian(x, lng, { context, digits, view, size, edge, covered }) {
  line(context, x, 0, x, size.y);
  if (x > edge) return;
  const east = ((((lng + 180) % 360) + 360) % 360) - 180;
  const text = `${Math.abs(east).toFixed(digits)}° ${east < 0 ? "W" : "E"}`;
  const { width } = context.measureText(text);
  const beside = x + 4 + width < edge ? x + 4 : x - 4 - width;
  let y = view.y + 5;
  for (let box = over(covered, beside, y, width); box; box = over(covered, beside, y, width)) y = box.bottom + 4;
  context.textBaseline = "top";
  context.fillText(text, beside, y);
}

function parallel(y, lat, { context, digits, view, size, covered }) {
  line(context, 0, y, size.x, y);
  const text = `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`;
  const x = view.x + 52;
  if (over(covered, x, y - 3 - LETTERS, context.measureText(text).width)) return;
  context.textBaseline = "bottom";
  context.fillText(text, x, y - 3);
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
