// Who is out there, as the broker tells it: `state` says what is, `presence` moves people in between.

const LONGEST_TEXT = 300;

/** Everybody of the company, by user id. */
export class People {
  #byUser = new Map();

  get size() {
    return this.#byUser.size;
  }

  get(user) {
    return this.#byUser.get(user);
  }

  values() {
    return this.#byUser.values();
  }

  clear() {
    this.#byUser.clear();
  }

  /** Take a retained `state` of USER; null takes the user away. Return the person. */
  takeState(user, state) {
    if (state === null) {
      this.#byUser.delete(user);
      return undefined;
    }
    const person = this.#byUser.get(user) ?? newPerson(user);
    Object.assign(person, {
      status: ["online", "away"].includes(state.status) ? state.status : "offline",
      reason: text(state.reason),
      since: time(state.since),
      lastSeen: time(state.lastSeenAt),
      project: text(state.currentProjectId),
      task: text(state.currentTaskId),
      message: text(state.statusMessage),
      messageAt: time(state.statusUpdatedAt),
      devices: Array.isArray(state.devices) ? state.devices.map(device) : [],
    });
    person.battery = lowest(person.devices);
    person.kind = kindOf(person);
    person.words = [user, person.project, person.task, person.message, person.status].filter(Boolean).join(" ").toLowerCase();
    move(person, state.lastLatitude, state.lastLongitude, state.lastAccuracy, time(state.lastFixAt));
    this.#byUser.set(user, person);
    return person;
  }

  /** Take a device's own `presence` of USER, as at NOW: it only moves people, the service decides the rest. Return who moved. */
  takePresence(user, said, now) {
    const person = this.#byUser.get(user);
    if (person === undefined || said.type === "offline" || said.source !== undefined) return undefined;
    const at = time(said.at) ?? now;
    if (at > now + 120_000) return undefined;
    if (person.kind === "online" || person.kind === "away") person.lastSeen = Math.max(person.lastSeen ?? 0, now);
    return move(person, said.latitude, said.longitude, said.accuracy, at) ? person : undefined;
  }
}

function newPerson(user) {
  return { user, lat: null, lon: null, accuracy: null, fixAt: null, x: 0, y: 0 };
}

/** Move PERSON unless the fix is older than the one that is known; return whether it is newer. */
function move(person, latitude, longitude, accuracy, at) {
  const lat = number(latitude, -90, 90);
  const lon = number(longitude, -180, 180);
  if (lat === null || lon === null || (lat === 0 && lon === 0)) return false;
  if (person.fixAt !== null && at !== null && at < person.fixAt) return false;
  Object.assign(person, { lat, lon, accuracy: number(accuracy, 0, 1e9), fixAt: at, ...projected(lat, lon) });
  return true;
}

/** Return where LAT and LON lie on the web's Mercator map, whose sides are 1 long [EPSG:3857]. */
export function projected(lat, lon) {
  const sine = Math.sin((Math.max(-85.05, Math.min(85.05, lat)) * Math.PI) / 180);
  return { x: lon / 360 + 0.5, y: 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI) };
}

function kindOf(person) {
  if (person.status !== "offline") return person.status;
  return ["stale_session", "connection_lost", "token_revoked"].includes(person.reason) ? "silent" : "off";
}

function device(said) {
  return {
    device: text(said?.device) ?? "default",
    status: said?.status === "offline" ? "offline" : (text(said?.status) ?? "offline"),
    lastSeen: time(said?.lastSeenAt),
    battery: number(said?.battery, 0, 100),
  };
}

function lowest(devices) {
  const known = devices.filter((each) => each.battery !== null && each.status !== "offline").map((each) => each.battery);
  return known.length ? Math.min(...known) : null;
}

function text(value) {
  return typeof value === "string" && value !== "" ? value.slice(0, LONGEST_TEXT) : null;
}

function number(value, least, most) {
  return typeof value === "number" && value >= least && value <= most ? value : null;
}

function time(value) {
  const parsed = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(parsed) ? null : parsed;
}
