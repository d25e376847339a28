// What a page built on phoenix.js notices of Skein while nothing fails.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, Member, versions } from "./client.mjs";
import { Fleet } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet();
before(() => fleet.start());
after(() => fleet.stop());

for (const [version, phoenix] of Object.entries(versions)) {
  describe(`phoenix ${version}`, () => {
    const clients = [];
    let topics = 0;
    const connect = (edge, options) => {
      const client = new Client(phoenix, fleet.edges[edge].socket, options);
      clients.push(client);
      return client;
    };
    const topic = () => `room:${version}:${++topics}`;
    after(() => clients.forEach((client) => client.close()));

    test("a push reaches everybody on both edges, the sender before its reply", async () => {
      const name = topic();
      const alice = await connect(0).join(name, ["shout"]);
      const bob = await connect(1).join(name, ["shout"]);
      const order = [];
      alice.channel.on("shout", () => order.push("broadcast"));
      const reply = await alice.push("shout", { body: "hi" }).finally(() => order.push("reply"));
      assert.deepEqual(reply, {});
      assert.deepEqual(order, ["broadcast", "reply"]);
      assert.deepEqual(await bob.sees(1), [["shout", { body: "hi" }]]);
      assert.deepEqual(alice.seen, [["shout", { body: "hi" }]]);
    });

    test("payloads arrive as they were sent", async () => {
      const name = topic();
      const alice = await connect(0).join(name);
      const bob = await connect(1).join(name, ["any"]);
      const payload = { text: "é ☃ 😀 \u0000 \u2028 </script>", numbers: [0, -1, 1.5, 1e21], nothing: null, deep: { list: [[], {}, [true]] }, "": "empty" };
      await alice.push("any", payload);
      assert.deepEqual(await bob.sees(1), [["any", payload]]);
    });

    test("binary payloads cross", async () => {
      const name = topic();
      const alice = await connect(0).join(name, ["blob"]);
      const bob = await connect(1).join(name, ["blob"]);
      const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
      assert.deepEqual(await alice.push("blob", bytes.buffer), {});
      for (const member of [alice, bob]) {
        const [[, payload]] = await member.sees(1);
        assert.deepEqual(new Uint8Array(payload), bytes);
      }
    });

    test("an empty payload and a join with params are fine", async () => {
      const name = topic();
      const alice = await connect(0).join(name, ["nothing"], { token: "x", nested: { a: [1] } });
      await alice.push("nothing", {});
      assert.deepEqual(await alice.sees(1), [["nothing", {}]]);
    });

    test("500 pushes in one go arrive once each and in order", async () => {
      const name = topic();
      const alice = await connect(0).join(name, ["count"]);
      const bob = await connect(1).join(name, ["count"]);
      await Promise.all(Array.from({ length: 500 }, (_, n) => alice.push("count", { n })));
      const expected = Array.from({ length: 500 }, (_, n) => n);
      for (const member of [alice, bob]) {
        await member.sees(500);
        assert.deepEqual(member.seen.map(([, { n }]) => n), expected);
      }
    });

    test("a backend's publish reaches every edge", async () => {
      const name = topic();
      const members = [await connect(0).join(name, ["news"]), await connect(1).join(name, ["news"])];
      await fleet.publish(name, "news", { from: "a backend" });
      for (const member of members) assert.deepEqual(await member.sees(1), [["news", { from: "a backend" }]]);
    });

    test("topics do not mix", async () => {
      const client = connect(0);
      const [one, two] = [await client.join(topic(), ["e"]), await client.join(topic(), ["e"])];
      await one.push("e", { to: "one" });
      await two.push("e", { to: "two" });
      assert.deepEqual(one.seen, [["e", { to: "one" }]]);
      assert.deepEqual(two.seen, [["e", { to: "two" }]]);
    });

    test("a topic that was not joined answers 'unmatched topic'", async () => {
      const client = connect(0);
      await client.connected();
      const { event, payload } = await client.raw(topic(), "shout", {});
      assert.equal(event, "phx_reply");
      assert.deepEqual(payload, { status: "error", response: { reason: "unmatched topic" } });
    });

    test("after leaving, the channel is closed and hears nothing", async () => {
      const name = topic();
      const alice = await connect(0).join(name);
      const bob = await connect(1).join(name, ["e"]);
      const carol = await connect(1).join(name, ["e"]);
      await bob.leave();
      await eventually("the channel closed", () => bob.closed === 1);
      await alice.push("e", {});
      await carol.sees(1);
      assert.deepEqual(bob.seen, []);
      assert.equal(bob.channel.state, "closed");
    });

    test("a second Channel object of a topic replaces the first", async () => {
      const name = topic();
      const client = connect(0);
      const first = await client.join(name, ["e"]);
      const second = await client.join(name, ["e"]);
      await eventually("the first closed", () => first.closed > 0);
      await second.push("e", { n: 1 });
      assert.deepEqual(second.seen, [["e", { n: 1 }]]);
      assert.deepEqual(first.seen, []);
    });

    test("what Phoenix crashes on gives phx_error, and phoenix.js joins again", async () => {
      const client = connect(0, { rejoinAfterMs: () => 10 });
      const member = await client.join(topic(), ["e"]);
      for (const [event, payload] of [["e", "no object"], ["phx_mine", {}]]) {
        const before = member.joins;
        member.channel.push(event, payload);
        await eventually("the rejoin", () => member.joins > before);
        await member.push("e", { after: event });
      }
      assert.equal(member.errors.length, 2);
      assert.deepEqual(client.closes, []);
      assert.deepEqual(member.seen.map(([, payload]) => payload), [{ after: "e" }, { after: "phx_mine" }]);
    });

    test("heartbeats are answered, so the socket stays", async () => {
      const client = connect(0, { heartbeatIntervalMs: 100 });
      let answers = 0;
      client.socket.onMessage(({ topic, event }) => topic === "phoenix" && event === "phx_reply" && answers++);
      await eventually("five heartbeats", () => answers >= 5);
      assert.equal(client.opens, 1);
      assert.deepEqual(client.closes, []);
    });

    test("the 101st channel of a socket is refused, and a leave makes room", async () => {
      const client = connect(0, { rejoinAfterMs: () => 600_000 });
      const names = Array.from({ length: 100 }, () => topic());
      const members = await Promise.all(names.map((name) => client.join(name)));
      const name = topic();
      const refused = new Member(client.socket.channel(name), []);
      await assert.rejects(refused.join(), (error) => error.response?.reason === "too many channels joined");
      refused.channel.leave(); // or it would try again
      await members[0].leave();
      await client.join(name);
    });

    test("a frame that is too big costs the sender its socket and nobody else", async () => {
      const name = topic();
      const client = connect(0, { rejoinAfterMs: () => 10 });
      const alice = await client.join(name, ["e"]);
      const neighbour = connect(0);
      const bob = await neighbour.join(name, ["e"]);
      alice.channel.push("e", { big: "x".repeat(20_000_000) }, 500);
      await eventually("the socket is back", () => client.opens === 2 && alice.joins === 2, 20_000);
      assert.ok([1006, 1009].includes(client.closes[0]), `close code ${client.closes[0]}`);
      await alice.push("e", { small: true });
      assert.deepEqual((await bob.sees(1)).at(-1), ["e", { small: true }]);
      assert.deepEqual(neighbour.closes, []);
    });
  });
}
