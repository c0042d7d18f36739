// When somebody was online: spans read off the events, for a strip of a day and for a list.

import { element } from "./dom.js";
import { durationText, timeText } from "./words.js";

const DAY = 24 * 3600_000;
const EDGE = 0.09;

/** Return [{from, to, reason}] of PERSON being online between FROM and NOW, from EVENTS (newest first); `to` is null for the present one. */
export function spans(person, events, from, now) {
  const turns = events.filter((event) => event.type === "user:online" || event.type === "user:offline").reverse();
  const found = [];
  let since = turns[0]?.type === "user:offline" ? from : null;
  for (const event of turns) {
    const at = Date.parse(event.timestamp);
    if (event.type === "user:online") since ??= at;
    else if (since !== null) {
      found.push({ from: since, to: at, reason: event.reason });
      since = null;
    }
  }
  if (person.status !== "offline") found.push({ from: since ?? person.since ?? from, to: null, reason: null });
  return found.filter((span) => (span.to ?? now) > from).map((span) => ({ ...span, from: Math.max(span.from, from) }));
}

/** Return a strip of the last 24 hours with the SPANS on it, and the same in words. */
export function strip(found, now) {
  const from = now - DAY;
  const onlineMs = found.reduce((sum, span) => sum + (span.to ?? now) - span.from, 0);
  const label = `Online for ${durationText(onlineMs)} of the last 24 hours, in ${found.length} ${found.length === 1 ? "span" : "spans"}`;
  const bar = element("div", { class: "strip", role: "img", "aria-label": label });
  for (const span of found) {
    const piece = element("span", { class: span.reason && span.reason !== "signed_off" ? "span lost" : "span" });
    piece.style.left = `min(${(100 * (span.from - from)) / DAY}%, 100% - 4px)`; // a minute ago is to be seen as well
    piece.style.width = `${(100 * ((span.to ?? now) - span.from)) / DAY}%`;
    bar.append(piece);
  }
  return element("div", {}, bar, hours(from), element("p", { class: "quiet" }, label));
}

function hours(from) {
  const row = element("div", { class: "hours", "aria-hidden": "true" });
  const first = new Date(from);
  first.setMinutes(0, 0, 0);
  for (let hour = 1; hour <= 24; hour += 1) {
    const at = new Date(first.getTime() + hour * 3600_000);
    if (at.getHours() % 6 !== 0) continue;
    const part = (at.getTime() - from) / DAY;
    if (part < EDGE || part > 1 - EDGE) continue; // it would be cut
    const mark = element("span", {}, timeText(at.getTime(), at.getTime()));
    mark.style.left = `${100 * part}%`;
    row.append(mark);
  }
  return row;
}
