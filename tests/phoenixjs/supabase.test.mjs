// Supabase's realtime-js against a namespace that speaks its dialect: the
// features of broadcast and presence that need no Supabase server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RealtimeClient } from "@supabase/realtime-js";
import WebSocket from "ws";
import { Fleet } from "./fleet.mjs";
import { eventually, within } from "./wait.mjs";

const fleet = new Fleet({
  routers: 1,
  config: `
namespaces:
  - topics: "realtime:*"
    dialect: supabase
    push: relay_from
`,
});
const clients = [];
before(() => fleet.start());
after(async () => {
  await Promise.all(clients.map((client) => client.disconnect()));
  await fleet.stop();
});

function connect(edge, options) {
  const client = new RealtimeClient(fleet.edges[edge].socket, { params: { apikey: "any" }, transport: WebSocket, ...options });
  clients.push(client);
  return client;
}

/** subscribe joins a channel whose broadcasts of one event go to seen. */
async function subscribe(client, name, config = {}, prepare = () => {}) {
  const channel = client.channel(name, { config });
  channel.seen = [];
  channel.on("broadcast", { event: "cursor" }, ({ payload }) => channel.seen.push(payload));
  prepare(channel);
  await within(`${name} is subscribed`, new Promise((resolve, reject) => {
    channel.subscribe((status, error) => (status === "SUBSCRIBED" ? resolve() : reject(error ?? new Error(status))));
  }));
  return channel;
}

for (const vsn of ["1.0.0", "2.0.0"]) {
  test(`vsn ${vsn}: broadcasts reach others, and oneself only when asked for`, async () => {
    const name = `broadcast ${vsn}`;
    const ada = await subscribe(connect(0, { vsn }), name, { broadcast: { ack: true } });
    const bob = await subscribe(connect(1, { vsn }), name, { broadcast: { ack: true, self: true } });
    assert.equal(await ada.send({ type: "broadcast", event: "cursor", payload: { x: 1 } }), "ok");
    assert.equal(await bob.send({ type: "broadcast", event: "cursor", payload: { x: 2 } }), "ok");
    await eventually("both heard", () => ada.seen.length >= 1 && bob.seen.length >= 2);
    assert.deepEqual([ada.seen, bob.seen], [[{ x: 2 }], [{ x: 1 }, { x: 2 }]]);
  });

  test(`vsn ${vsn}: people track and untrack themselves`, async () => {
    const name = `presence ${vsn}`;
    const watch = (channel) => {
      channel.news = [];
      channel.on("presence", { event: "join" }, ({ key }) => channel.news.push(`+${key}`));
      channel.on("presence", { event: "leave" }, ({ key }) => channel.news.push(`-${key}`));
      channel.on("presence", { event: "sync" }, () => {});
    };
    const ada = await subscribe(connect(0, { vsn }), name, { presence: { key: "ada" } }, watch);
    const bob = await subscribe(connect(1, { vsn }), name, { presence: { key: "bob" } }, watch);
    assert.equal(await ada.track({ mood: "curious" }), "ok");
    assert.equal(await bob.track({ mood: "calm" }), "ok");
    for (const channel of [ada, bob]) {
      await eventually("two people", () => Object.keys(channel.presenceState()).sort().join() === "ada,bob");
    }
    assert.equal(bob.presenceState().ada[0].mood, "curious");
    assert.equal(await ada.untrack(), "ok");
    await eventually("one person", () => Object.keys(bob.presenceState()).join() === "bob");
    await eventually("bob was told", () => bob.news.includes("-ada"));
  });
}

test("a channel that is left hears nothing more", async () => {
  const client = connect(0);
  const ada = await subscribe(client, "leave");
  const bob = await subscribe(connect(1), "leave", { broadcast: { ack: true } });
  assert.equal(await client.removeChannel(ada), "ok");
  assert.equal(await bob.send({ type: "broadcast", event: "cursor", payload: {} }), "ok");
  assert.deepEqual(ada.seen, []);
});
