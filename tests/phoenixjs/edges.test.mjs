// What phoenix.js notices when processes stop and start underneath it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, versions } from "./client.mjs";
import { Fleet } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet();
before(() => fleet.start());
after(() => fleet.stop());

const quick = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 };

for (const [version, phoenix] of Object.entries(versions)) {
  describe(`phoenix ${version}`, () => {
    const clients = [];
    const connect = (edge) => {
      const client = new Client(phoenix, fleet.edges[edge].socket, quick);
      clients.push(client);
      return client;
    };
    after(() => clients.forEach((client) => client.close()));

    for (const [signal, codes] of [["SIGTERM", [1012]], ["SIGKILL", [1006]]]) {
      test(`an edge restarted with ${signal} gets its clients back`, async () => {
        const topic = `room:${version}:${signal}`;
        const here = connect(0);
        const idle = connect(0);
        const there = connect(1);
        await idle.connected();
        const alice = await here.join(topic, ["e"]);
        const bob = await there.join(topic, ["e"]);
        await fleet.edges[0].stop(signal);
        await eventually("the clients noticed", () => here.closes.length > 0 && idle.closes.length > 0);
        const buffered = alice.push("e", { sent: "while the edge was down" }, 30_000);
        await fleet.edges[0].start();
        await buffered;
        await bob.push("e", { sent: "from the other edge" });
        const expected = [{ sent: "while the edge was down" }, { sent: "from the other edge" }];
        for (const member of [alice, bob]) {
          await member.sees(2);
          assert.deepEqual(member.seen.map(([, payload]) => payload), expected);
        }
        await idle.connected();
        assert.equal(alice.joins, 2);
        assert.ok(codes.includes(here.closes[0]) && codes.includes(idle.closes[0]), `close codes ${here.closes} and ${idle.closes}`);
        assert.ok(![...here.closes, ...idle.closes].includes(1000), "closed with 1000, from which old clients never return");
        assert.deepEqual([there.closes, bob.joins], [[], 1]);
      });
    }

    test("routers restart one after another and no client notices", async () => {
      const topic = `room:${version}:roll`;
      const [here, there] = [connect(0), connect(1)];
      const alice = await here.join(topic, ["n"]);
      const bob = await there.join(topic, ["n"]);
      let rolling = true;
      const sent = (async () => {
        let n = 0;
        for (; rolling; n++) await alice.push("n", { n });
        return n;
      })();
      for (const router of fleet.routers) await router.restart();
      rolling = false;
      const count = await sent;
      const expected = Array.from({ length: count }, (_, n) => n);
      for (const member of [alice, bob]) {
        await member.sees(count);
        assert.deepEqual(member.seen.map(([, { n }]) => n), expected);
      }
      for (const client of [here, there]) assert.deepEqual([client.opens, client.closes], [1, []]);
      for (const member of [alice, bob]) assert.deepEqual([member.joins, member.errors], [1, []]);
    });

    test("a router that is killed takes no socket with it, and messages flow again within 3 s", async () => {
      const topics = Array.from({ length: 6 }, (_, n) => `room:${version}:kill:${n}`);
      const [here, there] = [connect(0), connect(1)];
      const alices = await Promise.all(topics.map((topic) => here.join(topic)));
      const bobs = await Promise.all(topics.map((topic) => there.join(topic, ["e"])));
      const [victim] = fleet.routers;
      await victim.stop("SIGKILL");
      const killed = Date.now();
      await Promise.all(topics.map((_, i) => eventually(`delivery on ${topics[i]}`, async () => {
        alices[i].channel.push("e", { at: Date.now() });
        return bobs[i].seen.length > 0;
      }, 3000)));
      assert.ok(Date.now() - killed < 3500);
      await victim.start();
      for (const client of [here, there]) assert.deepEqual([client.opens, client.closes], [1, []]);
      for (const member of [...alices, ...bobs]) assert.deepEqual([member.joins, member.errors], [1, []]);
    });
  });
}
