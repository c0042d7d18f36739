// Whether what is shown is still true: says so when the connection, the broker or the service is gone, and how old the picture is.

import { byId, say } from "./dom.js";
import { durationText } from "./words.js";

const PATIENCE_MS = 5000;

export class Banner {
  #connected = false;
  #upSince = null;
  #service = null;
  #heard = null;

  constructor(clock) {
    this.clock = clock;
  }

  /** The connection is there, or no longer. */
  connected(is) {
    if (is && !this.#connected) this.#upSince = this.clock();
    if (!is) this.#service = null;
    this.#connected = is;
    this.draw();
  }

  /** The service said how it is: {online, since}. */
  service(said) {
    this.#service = said.online === true;
    this.draw();
  }

  /** The broker gave a sign of life: while the service runs, the picture is as of now. */
  heard() {
    if (this.#service !== false) this.#heard = this.clock();
  }

  draw() {
    const what = this.#trouble();
    const stale = what !== "";
    byId("banner").hidden = !stale;
    document.body.classList.toggle("stale", stale);
    say(byId("banner-what"), what);
    const age = this.#heard === null ? "Nothing has been heard yet." : `What you see is ${durationText(this.clock() - this.#heard)} old.`;
    say(byId("banner-age"), stale ? age : "");
    say(byId("link-text"), stale ? "not live" : "live");
    byId("link").dataset.live = String(!stale);
  }

  #trouble() {
    if (!this.#connected) return "No connection to the broker. Trying again…";
    if (this.#service === false) return "The service has stopped: nobody decides who is here.";
    if (this.#service === null && this.clock() - this.#upSince > PATIENCE_MS) return "There is no sign of the service.";
    return "";
  }
}
