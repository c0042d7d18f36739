// The signs of the four kinds: each has a shape and a colour of its own, so that neither is needed alone.

import { drawing } from "./dom.js";

/** Paths in a box of 16 by 16; the colours are those of the style sheet. */
const SHAPES = {
  online: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11z",
  away: "M8 1.2L14.8 8L8 14.8L1.2 8z",
  silent: "M8 1.5L15.3 14.3H.7z",
  off: "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10zM8 5.6a2.4 2.4 0 1 1 0 4.8a2.4 2.4 0 1 1 0-4.8z",
};

/** Return the sign of KIND for the page. */
export function sign(kind) {
  return drawing(
    "svg",
    { class: `sign ${kind}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    drawing("path", { d: SHAPES[kind], "fill-rule": "evenodd" }),
  );
}

/** Return the signs of all kinds as bitmaps of SIZE (CSS pixels), for a canvas of RATIO device pixels each. */
export function bitmaps(size, ratio, colours) {
  const made = {};
  for (const [kind, shape] of Object.entries(SHAPES)) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.ceil(size * ratio);
    const context = canvas.getContext("2d");
    context.scale(canvas.width / 20, canvas.width / 20);
    context.translate(2, 2);
    const path = new Path2D(shape);
    context.lineJoin = "round";
    context.lineWidth = 2.6;
    context.strokeStyle = colours.edge;
    context.stroke(path);
    context.fillStyle = colours[kind];
    context.fill(path, "evenodd");
    made[kind] = canvas;
  }
  return made;
}
