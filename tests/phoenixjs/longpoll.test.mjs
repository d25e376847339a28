// The long-poll transport of phoenix.js, alone and behind a balancer that sends
// each request to another edge.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import XMLHttpRequest from "xhr2";
import { Client, versions } from "./client.mjs";
import { Fleet } from "./fleet.mjs";
import { Proxy } from "./proxy.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet();
const balancer = new Proxy(() => fleet.edges.map(({ host }) => host));
before(async () => {
  await fleet.start();
  await balancer.start();
});
after(async () => {
  await balancer.stop();
  await fleet.stop();
});

for (const [version, phoenix] of Object.entries(versions)) {
  describe(`phoenix ${version} over long-poll`, () => {
    const clients = [];
    let topics = 0;
    const poll = (url, options) => {
      const client = new Client(phoenix, url, { transport: phoenix.LongPoll, ...options });
      clients.push(client);
      return client;
    };
    const topic = () => `room:poll:${version}:${++topics}`;
    // The oldest knows nothing but a browser's XMLHttpRequest; the others fetch.
    before(() => version.startsWith("1.7.") && (globalThis.XMLHttpRequest = XMLHttpRequest));
    after(() => {
      clients.forEach((client) => client.close());
      delete globalThis.XMLHttpRequest;
    });

    for (const [name, url] of [["one edge", () => fleet.edges[0].socket], ["every request to another edge", () => balancer.socket]]) {
      test(`${name}: pushes, replies and broadcasts`, async () => {
        const room = topic();
        const alice = await poll(url()).join(room, ["shout"]);
        const other = new Client(phoenix, fleet.edges[1].socket);
        clients.push(other);
        const bob = await other.join(room, ["shout"]);
        assert.deepEqual(await alice.push("shout", { from: "alice" }), {});
        assert.deepEqual(await bob.push("shout", { from: "bob" }), {});
        for (const member of [alice, bob]) {
          assert.deepEqual((await member.sees(2)).map(([, { from }]) => from), ["alice", "bob"]);
        }
        await alice.leave();
        await eventually("the channel closed", () => alice.closed === 1);
      });

      test(`${name}: 300 pushes in one go arrive once each and in order`, async () => {
        const room = topic();
        const alice = await poll(url()).join(room, ["n"]);
        await Promise.all(Array.from({ length: 300 }, (_, n) => alice.push("n", { n })));
        const expected = Array.from({ length: 300 }, (_, n) => n);
        assert.deepEqual((await alice.sees(300)).map(([, { n }]) => n), expected);
      });
    }

    test("binary pushes reach others", async () => {
      const room = topic();
      const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 256);
      const alice = await poll(fleet.edges[0].socket).join(room);
      const other = new Client(phoenix, fleet.edges[1].socket);
      clients.push(other);
      const bob = await other.join(room, ["blob"]);
      await alice.push("blob", bytes.buffer);
      const [[, payload]] = await bob.sees(1);
      assert.deepEqual(new Uint8Array(payload), bytes);
    });

    test("an edge that restarts gets its pollers back", async () => {
      const room = topic();
      const client = poll(fleet.edges[0].socket, { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 });
      const alice = await client.join(room, ["e"]);
      await fleet.edges[0].restart();
      await eventually("the channel is joined again", () => alice.joins === 2, 20_000);
      await alice.push("e", { after: "the restart" });
      assert.deepEqual(await alice.sees(1), [["e", { after: "the restart" }]]);
      assert.ok(!client.closes.includes(1000), `closed with ${client.closes}`);
    });
  });
}
