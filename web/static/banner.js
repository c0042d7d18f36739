// Whether what is shown is still true: says so when the connection, the broker or the service is gone, and how old the picture is.

import { byId, say } from "./dom.js";
import { durationText } from "./words.js";

const PATIENCE_MS = 5000;
const QUIET_MS = 10_000; // then the broker is asked for a sign of life

export class Banner {
  #connected = false;
  #upSince = null;
  #service = null;
  #heard = null;
  #alive = null;
  #asked = null;

  /** ASK has the broker give a sign of life; one that hangs, or a network that swallows everything, closes no connection. */
  constructor(clock, ask) {
    this.clock = clock;
    this.ask = ask;
  }

  /** The connection is there, or no longer. */
  connected(is) {
    if (is && !this.#connected) this.#upSince = this.clock();
    if (!is) this.#service = null;
    this.#alive = this.clock();
    this.#asked = null;
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
    this.#alive = this.clock();
    this.#asked = null;
    if (this.#service !== false) this.#heard = this.clock();
  }

  /** Ask the broker if it has been quiet for long, and say what there is to say. */
  tick() {
    if (this.#connected && this.#asked === null && this.clock() - this.#alive > QUIET_MS) {
      this.#asked = this.clock();
      this.ask();
    }
    this.draw();
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
    if (this.#asked !== null && this.clock() - this.#asked > PATIENCE_MS) return "The broker does not answer.";
    if (this.#service === false) return "The service has stopped: nobody decides who is here.";
    if (this.#service === null && this.clock() - this.#upSince > PATIENCE_MS) return "There is no sign of the service.";
    return "";
  }
}
