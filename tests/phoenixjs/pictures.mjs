// Takes the pictures of the demo for docs/images: npm run pictures. One tab is
// real, the other people are phoenix.js clients, so that little else needs the
// machine while the page measures.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { Browser } from "./browser.mjs";
import { Client, versions } from "./client.mjs";
import { Fleet } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs/images");
const room = "loom";
const fleet = await new Fleet().start();
const browser = await new Browser().start();

/** Actor is somebody who speaks the demo's events without a page. */
class Actor {
  constructor(name, hue, edge) {
    this.edge = fleet.edges[edge];
    this.me = { id: name, name, hue, edge: this.edge.id };
  }

  async enter() {
    const client = new Client(versions["1.8.16"], this.edge.socket);
    this.member = await client.join(`room:${room}`, ["message"]);
    this.member.channel.on("who", () => this.push("here"));
    return this;
  }

  push(event, fields = {}) {
    return this.member.push(event, { from: this.me, ...fields });
  }

  say(text) {
    return this.push("message", { id: `${this.me.id} ${this.member.seen.length}`, text, at: Date.now() });
  }
}

async function picture(scheme, actors) {
  const [grace, jun, linus] = actors;
  const ada = await browser.tab(`${fleet.edges[0].url}/#${room}`, { viewport: { width: 1360, height: 850 }, colorScheme: scheme });
  await ada.page.evaluate(() => sessionStorage.setItem("skein.me", JSON.stringify({ id: "Ada", name: "Ada Weaver", hue: 256 })));
  await ada.page.reload();
  await eventually("Ada sees everybody", async () => (await ada.text("#people-count")) === "4");
  await grace.say("Did the rollout go through?");
  await grace.say("I only saw my socket stay open.");
  await ada.say("All three routers restarted, one after another. Nobody dropped.");
  await linus.say("My phone did not even blink 📱");
  await jun.say("<b>Bold</b> claims & <script>alert(1)</script> stay text");
  await ada.page.click("#probe");
  await ada.page.locator("#trip-summary", { hasText: "last 101" }).waitFor();
  await ada.say("The owner of this room is another router now, and the messages kept their order: every publish waited until the old owner had let go.");
  await eventually("Grace heard it", () => grace.member.seen.at(-1)[1].text.startsWith("The owner"));
  await grace.say("Neat.");
  const said = (start) => grace.member.seen.findLast(([, { text }]) => text.startsWith(start))[1].id;
  for (const [actor, start, emoji] of [[grace, "All three", "🎉"], [jun, "All three", "🎉"], [linus, "Neat", "👍"]]) {
    await actor.push("reaction", { message: said(start), emoji });
  }
  await jun.push("typing");
  await ada.page.locator("#typing", { hasText: "Jun Heddle is typing" }).waitFor();
  await ada.page.locator("#text").blur();
  await ada.page.screenshot({ path: path.join(folder, `demo-${scheme}.png`) });
  await browser.closeTabs();
}

const people = [["Grace Spindle", 176, 1], ["Jun Heddle", 58, 0], ["Linus Bobbin", 318, 1]];
const actors = await Promise.all(people.map((person) => new Actor(...person).enter()));
await picture("dark", actors);
await picture("light", actors);
await browser.stop();
await fleet.stop();
process.exit(0); // without waiting for the actors, who try to come back
