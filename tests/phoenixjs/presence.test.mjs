// Who is online, as phoenix.js's Presence sees it: across edges, and while
// edges and presence instances die.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, versions } from "./client.mjs";
import { Fleet } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const fleet = new Fleet({ presence: 2 });
before(() => fleet.start());
after(() => fleet.stop());

/** Watcher keeps the list of a topic and every join and leave it was told of. */
class Watcher {
  events = [];

  constructor(phoenix, channel) {
    this.presence = new phoenix.Presence(channel);
    this.presence.onJoin((key, before) => before ?? this.events.push(`+${key}`));
    this.presence.onLeave((key, { metas }) => metas.length === 0 && this.events.push(`-${key}`));
  }

  get keys() {
    return this.presence.list((key) => key).sort();
  }

  async lists(...keys) {
    await eventually(`the list is ${keys}, got ${this.keys}`, () => String(this.keys) === String([...keys].sort()), 15_000);
  }
}

for (const [version, phoenix] of Object.entries(versions)) {
  describe(`phoenix ${version}`, () => {
    const clients = [];
    let topics = 0;
    const topic = () => `presence:${version}:${++topics}`;
    const connect = (edge) => {
      const client = new Client(phoenix, fleet.edges[edge].socket, { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 });
      clients.push(client);
      return client;
    };
    const enter = async (edge, room, user, meta) => {
      const client = connect(edge);
      const channel = client.socket.channel(room, user ? { user_id: user, meta } : {});
      const watcher = new Watcher(phoenix, channel);
      await new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("error", reject));
      return Object.assign(watcher, { client, channel });
    };
    after(() => clients.forEach((client) => client.close()));

    test("people on two edges see each other come and go", async () => {
      const room = topic();
      const ada = await enter(0, room, "ada", { mood: "curious" });
      await ada.lists("ada");
      const bob = await enter(1, room, "bob");
      for (const person of [ada, bob]) await person.lists("ada", "bob");
      const [meta] = bob.presence.list((key, { metas: [first] }) => ({ key, ...first })).filter(({ key }) => key === "ada");
      assert.equal(meta.mood, "curious");
      assert.ok(Math.abs(meta.online_at - Date.now() / 1000) < 60, `online_at is ${meta.online_at}`);
      bob.channel.leave();
      await ada.lists("ada");
      assert.deepEqual(ada.events, ["+ada", "+bob", "-bob"]);
    });

    test("one person in two places is one person", async () => {
      const room = topic();
      const watcher = await enter(0, room);
      const [first, second] = [await enter(0, room, "ada"), await enter(1, room, "ada")];
      await eventually("two metas", () => watcher.presence.list((_, { metas }) => metas.length)[0] === 2);
      first.client.close();
      await eventually("one meta", () => watcher.presence.list((_, { metas }) => metas.length)[0] === 1);
      second.client.close();
      await watcher.lists();
      assert.deepEqual(watcher.events, ["+ada", "-ada"]);
    });

    test("an edge that is killed takes its people along within 5 s", async () => {
      const room = topic();
      const ada = await enter(0, room, "ada");
      const bob = await enter(1, room, "bob");
      await ada.lists("ada", "bob");
      bob.client.socket.disconnect = () => {}; // it must not say goodbye
      const edge = fleet.edges[1];
      bob.client.socket.reconnectTimer.scheduleTimeout = () => {};
      await edge.stop("SIGKILL");
      const killed = Date.now();
      await ada.lists("ada");
      const took = Date.now() - killed;
      await edge.start();
      assert.ok(took < 5000, `bob was a ghost for ${took} ms`);
      assert.deepEqual(ada.events, ["+ada", "+bob", "-bob"]);
    });

    test("a presence instance that dies, and one that comes back, are no news", async () => {
      const rooms = Array.from({ length: 8 }, topic);
      const people = await Promise.all(rooms.flatMap((room) => [enter(0, room, "ada"), enter(1, room, "bob")]));
      for (const person of people) await person.lists("ada", "bob");
      const before = people.map(({ events }) => [...events].sort());
      for (const signal of ["SIGKILL", "SIGTERM"]) {
        const [instance] = fleet.presence;
        await instance.stop(signal);
        await comesAndGoes(rooms, signal);
        await instance.start();
        await comesAndGoes(rooms, `${signal}, restarted`);
      }
      assert.deepEqual(people.map(({ events }) => events.filter((event) => !event.includes("guest")).sort()), before);

      // comesAndGoes shows that the lists are alive again, wherever their topics went.
      async function comesAndGoes(rooms, when) {
        for (const [i, room] of rooms.entries()) {
          const guest = await enter(i % 2, room, `guest ${when}`);
          const [ada, bob] = people.slice(2 * i, 2 * i + 2);
          for (const person of [ada, bob, guest]) await person.lists("ada", "bob", `guest ${when}`);
          guest.client.close();
          for (const person of [ada, bob]) await person.lists("ada", "bob");
        }
      }
    });
  });
}
