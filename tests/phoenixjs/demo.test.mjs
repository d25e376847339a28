// The demo page in a real browser.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Browser } from "./browser.mjs";
import { Fleet } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet();
const browser = new Browser();
before(async () => {
  await fleet.start();
  await browser.start();
});
afterEach(() => browser.closeTabs());
after(async () => {
  await browser.stop();
  await fleet.stop();
});

const open = (edge, room, options) => browser.tab(`${fleet.edges[edge].url}/#${room}`, options);

test("two tabs on two edges chat", async () => {
  const [alice, bob] = [await open(0, "chat"), await open(1, "chat")];
  await eventually("each page says its edge", async () => (await alice.text("#edge")) === "edge-a" && (await bob.text("#edge")) === "edge-b");
  await eventually("both know each other", async () => (await alice.text("#people-count")) === "2" && (await bob.text("#people-count")) === "2");
  await alice.say("hello from edge-a");
  await bob.hears("hello from edge-a");
  await bob.say("and hello from edge-b");
  await alice.hears("and hello from edge-b");
  await alice.page.locator(".own .note", { hasText: "through the mesh in" }).waitFor();
  assert.deepEqual(await alice.texts(), await bob.texts());
  assert.deepEqual([...browser.hosts].sort(), fleet.edges.map(({ url }) => new URL(url).host).sort(), "no other host is asked for anything");
});

test("names, typing and reactions show on the other side", async () => {
  const [alice, bob] = [await open(0, "signs"), await open(1, "signs")];
  await alice.page.fill("#name", "Ada Weaver");
  await alice.page.press("#name", "Tab");
  await bob.page.locator("#people .name", { hasText: "Ada Weaver" }).waitFor();
  await alice.page.locator("#text").pressSequentially("hm");
  await bob.page.locator("#typing", { hasText: "Ada Weaver is typing" }).waitFor();
  await alice.say("react to this");
  await bob.hears("react to this");
  await bob.page.locator(".message").hover();
  await bob.page.locator('.palette button[aria-label="React with 🎉"]').click();
  for (const tab of [alice, bob]) await tab.page.locator(".chip", { hasText: "🎉 1" }).waitFor();
});

test("what people type stays text", async () => {
  const [alice, bob] = [await open(0, "text"), await open(1, "text")];
  const evil = `<img src=x onerror="alert(1)"><script>alert(2)</script> & "quotes"`;
  await alice.page.fill("#name", "<b>Eve</b>");
  await alice.page.press("#name", "Tab");
  await alice.say(evil);
  await bob.hears(evil);
  assert.deepEqual(await bob.texts(), [evil]);
  assert.equal(await bob.page.locator(".message img, .message script, #people b").count(), 0);
  assert.deepEqual(browser.complaints, []);
});

test("the wire shows what crosses", async () => {
  const alice = await open(0, "wire");
  await alice.say("watch this");
  for (const [kind, event] of [["join", "phx_join"], ["push", "message"], ["broadcast", "message"], ["reply", "message"], ["heartbeat", "heartbeat"]]) {
    await alice.page.locator(`.frame.${kind}`, { hasText: event }).first().waitFor();
  }
  await alice.page.locator(".frame.push.out", { hasText: "message" }).first().locator("summary").click();
  await alice.page.locator("details[open] pre", { hasText: '"watch this"' }).waitFor();
  await alice.page.click("#probe");
  await alice.page.locator("#trip-summary", { hasText: "median" }).waitFor();
  await alice.picture("wire");
});

test("a reload keeps the name and what was said", async () => {
  const [alice, bob] = [await open(0, "reload"), await open(1, "reload")];
  await alice.say("before");
  await bob.hears("before");
  const name = await alice.page.inputValue("#name");
  await alice.page.reload();
  await alice.page.waitForSelector('#status[data-state="open"]');
  assert.equal(await alice.page.inputValue("#name"), name);
  await alice.hears("before");
  await bob.page.locator("#people .name", { hasText: name }).waitFor();
  await bob.say("after");
  await alice.hears("after");
});

test("rooms follow the address", async () => {
  const [alice, bob] = [await open(0, "lobby"), await open(1, "loom")];
  await alice.say("in the lobby");
  await alice.hears("in the lobby");
  await alice.page.click('#rooms a[href="#loom"]');
  await eventually("the room changed", async () => (await alice.text("#room-name")) === "loom");
  await alice.say("in the loom");
  await bob.hears("in the loom");
  assert.deepEqual(await bob.texts(), ["in the loom"]);
  await alice.page.goBack();
  await alice.hears("in the lobby");
});

test("it fits a phone", async () => {
  const phone = await open(0, "phone", { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true });
  await phone.say("a rather long message, which needs several lines on a screen as narrow as that of a phone");
  await phone.hears("a rather long message");
  for (const view of ["mesh", "chat"]) {
    await phone.page.click(`#views button[data-view="${view}"]`);
    const overflow = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${view} is ${overflow} px too wide`);
    await phone.picture(`phone-${view}`);
  }
});

test("when an edge restarts, its tabs come back by themselves", async () => {
  const [alice, bob] = [await open(0, "restart"), await open(1, "restart")];
  await alice.say("one");
  await bob.hears("one");
  const quiet = browser.complaints.length;
  await fleet.edges[0].stop();
  await alice.page.waitForSelector('#status[data-state="lost"]');
  await fleet.edges[0].start();
  await alice.page.waitForSelector('#status[data-state="open"]');
  await eventually("the notice is gone", () => alice.page.locator("#notice").isHidden());
  await alice.say("two");
  await bob.hears("two");
  await bob.say("three");
  await alice.hears("three");
  await fleet.edges[1].restart("SIGKILL");
  await bob.page.waitForSelector('#status[data-state="open"]');
  await alice.say("four");
  await bob.hears("four");
  assert.deepEqual(await bob.texts(), ["one", "two", "three", "four"]);
  // Chromium writes every refused connection to the console; nothing else may be there.
  assert.deepEqual(browser.complaints.slice(quiet).filter((text) => !/WebSocket|ERR_CONNECTION/.test(text)), []);
});
