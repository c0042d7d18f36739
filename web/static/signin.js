// Signing in: a token is taken, read, and handed on; it is kept nowhere.

import { byId, say } from "./dom.js";
import { claimsOf } from "./token.js";

export class SignIn {
  #dialog = byId("sign-in");
  #token = byId("token");
  #company = byId("company-name");

  /** ON_TOKEN is called with {token, user, company, role, expires} when somebody signs in; with DEMO a simulated fleet is offered. */
  constructor(demo, onToken) {
    byId("demo").hidden = !demo;
    byId("demo").addEventListener("click", () => this.#enterDemo(onToken));
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    this.#dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onToken);
    });
    this.#token.addEventListener("input", () => this.#offerCompany());
  }

  /** Ask for a token, and say what was wrong with the last one. */
  ask(trouble = "") {
    this.tell(trouble);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#token.focus();
  }

  tell(trouble) {
    say(byId("sign-in-trouble"), trouble);
  }

  done() {
    this.#token.value = "";
    this.#offerCompany();
    this.#dialog.close();
  }

  #offerCompany() {
    // A token of the service opens every company, so one has to be named.
    const wanted = claimsOf(this.#token.value.trim())?.role === "service";
    byId("company-field").hidden = !wanted;
    this.#company.required = wanted;
  }

  async #enterDemo(onToken) {
    try {
      const response = await fetch("demo-token", { method: "POST", cache: "no-store" });
      if (!response.ok) throw new Error(`the page's server answers ${response.status}`);
      this.#token.value = (await response.json()).token;
      this.#submit(onToken);
    } catch (error) {
      this.tell(`No simulated fleet: ${error.message}.`);
    }
  }

  #submit(onToken) {
    const token = this.#token.value.trim();
    const claims = claimsOf(token);
    if (claims === null) this.tell("This is no token.");
    else if (claims.expires <= Date.now()) this.tell("This token has expired.");
    else {
      this.tell("Signing in…");
      const company = claims.role === "service" ? this.#company.value.trim() : claims.company;
      onToken({ token, ...claims, company });
    }
  }
}
