// The page's own MQTT connection, over WebSocket: the same that any dashboard has.

const { mqtt } = globalThis;

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8000;
const REFUSED = new Set([4, 5, 134, 135]); // CONNACK [MQTT-3.2.2.3], reason codes of MQTT 5

/** A connection that comes back by itself; it tells LISTENER of `up`, `down`, `refused`, `message`, and of any sign of life as `heard`. */
export class Connection {
  #client;
  #delayMs = FIRST_DELAY_MS;
  #ended = false;

  constructor(url, { token, user, company, role }, listener) {
    const name = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.#client = mqtt.connect(url, {
      clientId: role === "service" ? `fieldbeat:page-${name}` : `${company}:${user}:page-${name}`,
      username: user,
      password: token,
      protocolVersion: 4,
      clean: true,
      keepalive: 60, // a browser lets timers of a hidden page run once a minute only
      connectTimeout: 8000,
      reconnectPeriod: FIRST_DELAY_MS,
      resubscribe: false,
      timerVariant: "native", // the other kind needs a worker made from text, which our policy forbids
    });
    this.#client.on("connect", () => this.#subscribe(company, listener));
    this.#client.on("close", () => {
      if (this.#ended) return; // what ended it has been told already
      // Each time later, and never all pages at once.
      this.#delayMs = Math.min(this.#delayMs * 1.7, LONGEST_DELAY_MS);
      this.#client.options.reconnectPeriod = this.#delayMs * (0.6 + Math.random() * 0.4);
      listener.down();
    });
    this.#client.on("error", (error) => {
      if (!REFUSED.has(error.code)) return;
      this.close();
      listener.refused();
    });
    this.#client.on("packetreceive", () => listener.heard());
    this.#client.on("message", (topic, payload) => listener.message(topic, payload));
  }

  #subscribe(company, listener) {
    this.#delayMs = FIRST_DELAY_MS;
    const filters = { "fieldbeat/service": { qos: 1 } };
    for (const [channel, qos] of [["state", 1], ["events", 1], ["presence", 0]]) filters[`company/${company}/${channel}/+`] = { qos };
    this.#client.subscribe(filters, (error) => {
      if (!error) listener.up();
    });
  }

  /** Ask the broker for a sign of life; `heard` tells of it. */
  ask() {
    if (this.#client.connected) this.#client.sendPing();
  }

  close() {
    this.#ended = true;
    this.#client.end(true);
  }
}

/** Return the URL of the broker for this page: the one that was set, or the broker's port at the host that the page came from. */
export function brokerUrl(config, location) {
  if (config.websocketUrl) return config.websocketUrl;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${config.websocketPort}/mqtt`;
}
