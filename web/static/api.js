// The read API, asked with the token in a header.

export class Api {
  #root;
  #token;

  constructor(company, token) {
    this.#root = `api/companies/${encodeURIComponent(company)}/`;
    this.#token = token;
  }

  /** Return the JSON at PATH; raise an error with the status when there is none. */
  async get(path, parameters = {}, signal = undefined) {
    const query = new URLSearchParams(parameters);
    const response = await fetch(`${this.#root}${path}?${query}`, {
      headers: { Authorization: `Bearer ${this.#token}` },
      cache: "no-store",
      signal,
    });
    if (!response.ok) throw new Error(`the read API answers ${response.status}`);
    return response.json();
  }

  /** Return everything of PERSON since FROM: the way, the events and the activities. */
  async day(user, from, signal) {
    const place = `users/${encodeURIComponent(user)}`;
    const since = new Date(from).toISOString();
    const [track, events, activity] = await Promise.all([
      this.get(`${place}/track`, { from: since, simplify: 4 }, signal),
      this.get("events", { user, order: "newest", limit: 300 }, signal),
      this.get(`${place}/activity`, { from: since }, signal),
    ]);
    return { track, events: events.items, activity: activity.items };
  }
}
