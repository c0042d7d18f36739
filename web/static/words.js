// How states, ages and times read: in the viewer's zone and language where the system knows it.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockWithSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const whole = new Intl.NumberFormat();

const REASONS = {
  stale_session: "gone silent",
  connection_lost: "connection lost",
  token_revoked: "access revoked",
  signed_off: "signed off",
};

/** The four signs of the roster and the map, the most urgent first. */
export const KINDS = {
  silent: "Lost or silent",
  away: "Away",
  online: "Online",
  off: "Signed off",
};

/** Return MILLISECONDS as `12 s`, `3 min`, `2 h 05 min` or `4 d`. */
export function durationText(milliseconds) {
  const past = Math.max(0, milliseconds);
  if (past < MINUTE) return `${Math.floor(past / 1000)} s`;
  if (past < HOUR) return `${Math.floor(past / MINUTE)} min`;
  if (past < DAY) return `${Math.floor(past / HOUR)} h ${String(Math.floor((past % HOUR) / MINUTE)).padStart(2, "0")} min`;
  return `${Math.floor(past / DAY)} d ${Math.floor((past % DAY) / HOUR)} h`;
}

/** Return how long before NOW the TIME was. */
export function ageText(time, now) {
  return time === null ? "never" : durationText(now - time);
}

/** Return TIME as a clock shows it, with the day unless that is today. */
export function timeText(time, now = Date.now(), seconds = false) {
  const date = new Date(time);
  if (date.toDateString() !== new Date(now).toDateString()) return dayAndClock.format(date);
  return (seconds ? clockWithSeconds : clock).format(date);
}

export function numberText(value) {
  return whole.format(value);
}

/** Return how somebody is, in a word or two. */
export function standingText(person) {
  if (person.status !== "offline") return person.status;
  return REASONS[person.reason] ?? "offline";
}

export function reasonText(reason) {
  return REASONS[reason] ?? "offline";
}

export function activityText(project, task) {
  return [project, task].filter(Boolean).join(" / ");
}

/** Return what EVENT says, without whose it is. */
export function eventText(event) {
  switch (event.type) {
    case "user:online":
      return `came online with ${event.device}`;
    case "user:offline":
      return `went offline: ${reasonText(event.reason)}`;
    case "activity:changed":
      return event.projectId ? `works on ${activityText(event.projectId, event.taskId)}` : "ended the activity";
    case "status:updated":
      return event.statusMessage ? `says “${event.statusMessage}”` : "cleared the status text";
    default:
      return String(event.type);
  }
}
