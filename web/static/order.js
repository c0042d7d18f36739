// In which order people are listed, and who is listed at all.

const URGENCY = { stale_session: 0, connection_lost: 1, token_revoked: 2 };
const LOW_BATTERY = 15;

/** Return how urgent PERSON is, 0 the most: gone silent, lost, revoked, nearly out of battery, away, online, signed off. */
export function urgency(person) {
  if (person.kind === "silent") return URGENCY[person.reason] ?? 1;
  if (person.kind === "off") return 6;
  if (person.battery !== null && person.battery <= LOW_BATTERY) return 3;
  return person.kind === "away" ? 4 : 5;
}

const byName = (a, b) => (a.user < b.user ? -1 : a.user > b.user ? 1 : 0);
const newestFirst = (a, b) => (b ?? 0) - (a ?? 0);

const ORDERS = {
  urgency: (a, b) => urgency(a) - urgency(b) || newestFirst(a.since, b.since) || byName(a, b),
  name: byName,
  seen: (a, b) => newestFirst(a.lastSeen, b.lastSeen) || byName(a, b),
  battery: (a, b) => (a.battery ?? 101) - (b.battery ?? 101) || byName(a, b),
};

/** Return those of PEOPLE whose kind and words are asked for, in the ORDER that is named. */
export function listed(people, { kind, search, order }) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (person) => (kind === "all" || person.kind === kind) && words.every((word) => person.words.includes(word));
  return [...people].filter(wanted).sort(ORDERS[order] ?? ORDERS.urgency);
}

/** Return how many of PEOPLE there are of each kind. */
export function counted(people) {
  const counts = { all: 0, silent: 0, away: 0, online: 0, off: 0 };
  for (const person of people) {
    counts.all += 1;
    counts[person.kind] += 1;
  }
  return counts;
}
