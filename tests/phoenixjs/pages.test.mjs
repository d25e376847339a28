// Pages of one's own in a real browser: presence, a hidden tab, a network that
// lets no WebSocket through, compression, and an origin that is refused.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, afterEach, before, test } from "node:test";
import { Browser } from "./browser.mjs";
import { Fleet } from "./fleet.mjs";
import { Proxy } from "./proxy.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet({ routers: 2, presence: 2, edge: ["--compress"] });
const browser = new Browser();
const middlebox = new Proxy(() => [fleet.edges[0].host]);
const phoenix = await readFile(new URL(import.meta.resolve("phoenix").replace(/[^/]*$/, "phoenix.mjs")));
const app = createServer((request, response) => {
  const script = request.url === "/phoenix.mjs";
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? phoenix : page);
});

before(async () => {
  await fleet.start();
  await browser.start();
  await middlebox.start();
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
});
afterEach(() => browser.closeTabs());
after(async () => {
  app.close();
  app.closeAllConnections();
  await middlebox.stop();
  await browser.stop();
  await fleet.stop();
});

// The page connects to what its address names and keeps what it sees in window.
const page = `<!doctype html><title>page</title><script type="module">
import { Socket, Presence } from "/phoenix.mjs";
const query = new URL(location).searchParams;
const socket = new Socket(query.get("socket"), {
  longPollFallbackMs: Number(query.get("fallback")) || undefined,
  reconnectAfterMs: () => 100, rejoinAfterMs: () => 100,
});
const seen = [], closes = [];
let opens = 0, joins = 0;
socket.onOpen(() => opens++);
socket.onClose((event) => closes.push(event.code));
const channel = socket.channel(query.get("topic"), { user_id: query.get("user") });
const presence = new Presence(channel);
channel.on("say", ({ text }) => seen.push(text));
window.me = {
  seen, closes, channel, socket,
  people: () => presence.list((key) => key).sort().join(),
  get opens() { return opens },
  get joins() { return joins },
  get transport() { return socket.transport.name },
  say: (text) => new Promise((resolve, reject) => channel.push("say", { text }).receive("ok", resolve).receive("error", reject)),
};
channel.join().receive("ok", () => joins++);
socket.connect();
</script>`;

/** open loads the page for a user; host is what the page itself is loaded from. */
async function open(user, topic, socket, { host = "127.0.0.1", fallback = "" } = {}) {
  const query = new URLSearchParams({ user, topic, socket, fallback });
  return browser.page(`http://${host}:${app.address().port}/?${query}`);
}

const joined = (tab, times = 1) => tab.waitForFunction((n) => window.me?.joins >= n, times);
const say = (tab, text) => tab.evaluate((words) => window.me.say(words), text);
const heard = (tab, ...texts) => tab.waitForFunction((want) => String(window.me.seen) === want, String(texts));
const people = (tab, ...keys) => tab.waitForFunction((want) => window.me.people() === want, keys.sort().join());

test("two pages chat and see who is there", async () => {
  const topic = "presence:pages";
  const ada = await open("ada", topic, fleet.edges[0].socket);
  const bob = await open("bob", topic, fleet.edges[1].socket);
  for (const tab of [ada, bob]) await people(tab, "ada", "bob");
  await say(ada, "hello");
  await say(bob, "hello yourself");
  for (const tab of [ada, bob]) await heard(tab, "hello", "hello yourself");
  await bob.close();
  await people(ada, "ada");
});

test("a hidden tab whose edge restarts is back as soon as it is looked at", async () => {
  const topic = "presence:hidden";
  const ada = await open("ada", topic, fleet.edges[0].socket);
  const bob = await open("bob", topic, fleet.edges[1].socket);
  for (const tab of [ada, bob]) await people(tab, "ada", "bob");
  await visibility(ada, "hidden");
  await fleet.edges[0].restart();
  await ada.waitForFunction(() => window.me.closes.length > 0);
  assert.deepEqual(await ada.evaluate(() => [window.me.closes, window.me.opens]), [[1012], 1]);
  await say(bob, "while ada was away");
  await visibility(ada, "visible");
  await joined(ada, 2);
  await say(bob, "welcome back");
  await heard(ada, "welcome back");
  for (const tab of [ada, bob]) await people(tab, "ada", "bob");
});

/** visibility tells a page that it is hidden or shown; headless tabs never are hidden. */
function visibility(tab, state) {
  return tab.evaluate((now) => {
    Object.defineProperty(document, "visibilityState", { value: now, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true })); // phoenix.js listens at the window
  }, state);
}

test("where WebSockets are blocked, long-poll carries the page", async () => {
  const topic = "presence:fallback";
  const ada = await open("ada", topic, middlebox.socket, { fallback: "200" });
  const bob = await open("bob", topic, fleet.edges[1].socket);
  await joined(ada);
  assert.match(await ada.evaluate(() => window.me.transport), /LongPoll/);
  for (const tab of [ada, bob]) await people(tab, "ada", "bob");
  await say(ada, "over long-poll");
  await say(bob, "over a WebSocket");
  for (const tab of [ada, bob]) await heard(tab, "over long-poll", "over a WebSocket");
  // The page's origin is not that of the middlebox: what it fetched was allowed to it.
  assert.deepEqual(browser.complaints.filter((text) => /CORS/.test(text)), []);
});

test("a socket that compresses carries what compresses well, and what does not", async () => {
  const topic = "room:compressed";
  const handshakes = [];
  const ada = await open("ada", topic, fleet.edges[0].socket);
  const cdp = await ada.context().newCDPSession(ada);
  await cdp.send("Network.enable");
  cdp.on("Network.webSocketHandshakeResponseReceived", ({ response }) => handshakes.push(response.headers));
  await ada.reload();
  const bob = await open("bob", topic, fleet.edges[1].socket);
  for (const tab of [ada, bob]) await joined(tab);
  await eventually("the handshake was seen", () => handshakes.length > 0);
  const answer = Object.entries(handshakes[0]).find(([name]) => name.toLowerCase() === "sec-websocket-extensions")?.[1] ?? "";
  assert.match(answer, /permessage-deflate/);
  const texts = ["short", "the same again ".repeat(2000), Array.from({ length: 20_000 }, (_, i) => String.fromCharCode(32 + ((i * 7919) % 90))).join("")];
  for (const text of texts) await say(ada, text);
  for (const tab of [ada, bob]) await heard(tab, ...texts);
});

test("a page of another host is refused, and told so", async () => {
  const ada = await open("ada", "room:foreign", fleet.edges[0].socket, { host: "localhost" });
  await ada.waitForFunction(() => window.me.closes.length >= 3);
  assert.equal(await ada.evaluate(() => window.me.opens), 0);
  await eventually("the browser says why", () => browser.complaints.some((text) => /403/.test(text)));
});
