// The page opens: it asks where the broker is, then who looks, and shows the board.

import { byId } from "./dom.js";

async function start() {
  if (!globalThis.L || !globalThis.mqtt || !globalThis.topojson) {
    byId("missing").hidden = false;
    return;
  }
  const [{ Board }, { SignIn }, { brokerUrl }] = await Promise.all([import("./board.js"), import("./signin.js"), import("./connection.js")]);
  const config = await (await fetch("config.json", { cache: "no-store" })).json();
  // Ages are told by the service's clock: the viewer's may be wrong.
  const offset = Date.parse(config.now) - Date.now();
  let board = null;
  const signIn = new SignIn(config.demo, (visitor) => {
    byId("app").hidden = false;
    board?.close();
    board ??= new Board(config, () => Date.now() + offset);
    const url = brokerUrl(config, location);
    board.open(url, visitor, {
      entered: () => signIn.done(),
      unreachable: () => signIn.tell(`The broker at ${url} does not answer. Trying again…`),
      refused: () => signIn.ask("The broker refuses this token."),
    });
  });
  // Whoever signs out leaves nothing behind: the page begins anew.
  byId("sign-out").addEventListener("click", () => location.reload());
  signIn.ask();
}

start();
