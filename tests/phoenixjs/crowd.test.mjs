// A crowd that is online, as phoenix.js's Presence sees it at two edges, while a
// presence instance is killed and comes back. SKEIN_PEOPLE and SKEIN_TOPICS say
// how large it is; SKEIN_REPORT names a file for what the crowd measured.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Client, versions } from "./client.mjs";
import { binaries, Fleet } from "./fleet.mjs";
import { eventually, within } from "./wait.mjs";

const people = Number(process.env.SKEIN_PEOPLE ?? 2000);
const topics = Number(process.env.SKEIN_TOPICS ?? 20);
const patience = 120_000;
const phoenix = versions["1.8.16"];

const fleet = new Fleet({ presence: 2 });
const clients = [];
let crowd = null;

before(() => fleet.start());
after(async () => {
  await crowd?.end("SIGKILL");
  clients.forEach((client) => client.close());
  await fleet.stop();
});

/** Crowd is a run of skein bench people, which holds until it is told to end. */
class Crowd {
  #output = "";
  #errors = "";

  constructor() {
    const pids = [...fleet.edges, ...fleet.presence, ...fleet.routers].map(({ id, pid }) => `${id}=${pid}`);
    this.child = spawn(path.join(binaries, "skein"), [
      "bench", "people", "--people", people, "--topics", topics, "--hold", "1h", "--patience", `${patience / 1000}s`,
      "--edge", fleet.edges.map(({ host }) => host).join(","), "--pids", pids.join(","), "--output", "json",
    ].map(String));
    this.child.stdout.on("data", (data) => (this.#output += data));
    this.child.stderr.on("data", (data) => (this.#errors += data));
    this.closed = once(this.child, "close");
  }

  /** holds waits until the crowd sees itself, too. */
  async holds() {
    await eventually("the crowd is there", () => {
      this.lives();
      return this.#errors.includes("the crowd is there");
    }, patience);
  }

  /** lives fails if the crowd has gone. */
  lives() {
    assert.equal(this.child.exitCode, null, this.#errors);
  }

  /** end has everybody leave and returns what they saw. */
  async end(signal = "SIGINT") {
    this.child.kill(signal);
    const [status] = await within("the crowd ends", this.closed, 2 * patience);
    if (signal === "SIGINT") assert.equal(status, 0, this.#errors);
    return this.#output;
  }
}

/** Watcher follows the list of a topic and writes down every call of onJoin and onLeave. */
class Watcher {
  calls = [];

  constructor(edge, topic) {
    const client = new Client(phoenix, fleet.edges[edge].socket);
    clients.push(client);
    this.name = `${topic} at ${fleet.edges[edge].id}`;
    this.channel = client.socket.channel(topic, {});
    this.presence = new phoenix.Presence(this.channel);
    this.presence.onJoin((key) => this.calls.push(`+${key}`));
    this.presence.onLeave((key) => this.calls.push(`-${key}`));
    this.synced = new Promise((resolve) => this.presence.onSync(resolve));
  }

  async join() {
    const joined = new Promise((resolve, reject) => this.channel.join().receive("ok", resolve).receive("error", reject));
    await within(`${this.name} is joined`, Promise.all([joined, this.synced]), patience);
    return this;
  }

  get keys() {
    return this.presence.list((key) => key).sort();
  }

  async lists(count) {
    await eventually(`${this.name} lists ${count}`, () => {
      crowd?.lives();
      return this.keys.length === count;
    }, patience);
  }
}

/** enter makes somebody join a topic, who is not of the crowd. */
async function enter(edge, topic, user) {
  const client = new Client(phoenix, fleet.edges[edge].socket);
  clients.push(client);
  return client.join(topic, [], { user_id: user });
}

test(`${people} people in ${topics} topics, and a presence instance that dies`, async () => {
  const watched = [...new Set([0, 1, 2, Math.floor(topics / 2), topics - 1].filter((i) => i < topics))];
  const inTopic = (i) => Math.floor((people - i + topics - 1) / topics);
  const watchers = [];
  for (const i of watched) {
    for (const edge of [0, 1]) {
      watchers.push(Object.assign(await new Watcher(edge, `presence:bench:${i}`).join(), { i, edge, people: inTopic(i) }));
    }
  }
  const each = (check) => Promise.all(watchers.map(check));

  crowd = new Crowd();
  await each((watcher) => watcher.lists(watcher.people));
  await crowd.holds();
  for (const { name, calls, keys } of watchers) {
    assert.deepEqual([...calls].sort(), keys.map((key) => `+${key}`), `${name}: everybody comes once`);
  }
  const before = watchers.map(({ keys }) => keys);

  for (const [round, instance] of fleet.presence.entries()) {
    watchers.forEach((watcher) => (watcher.calls = []));
    await instance.stop("SIGKILL");
    await comesAndGoes(`one without ${instance.id}`);
    await instance.start();
    await comesAndGoes(`one of round ${round}`);
  }

  const report = JSON.parse(await crowd.end());
  crowd = null;
  if (process.env.SKEIN_REPORT) writeFileSync(process.env.SKEIN_REPORT, JSON.stringify(report, null, 2));
  await each((watcher) => watcher.lists(0));
  const { incomplete, spurious_joins, spurious_leaves, ghosts } = report.target.people;
  assert.deepEqual({ incomplete, spurious_joins, spurious_leaves, ghosts }, { incomplete: 0, spurious_joins: 0, spurious_leaves: 0, ghosts: 0 });
  assert.equal(report.target.closed, 0, "sockets that an edge closed");
  console.log(JSON.stringify(report.target.people));

  // comesAndGoes shows that lists are alive: all see newcomers, and nothing else.
  async function comesAndGoes(user) {
    const guests = await Promise.all(watched.map((i, n) => enter(n % 2, `presence:bench:${i}`, user)));
    await each((watcher) => watcher.lists(watcher.people + 1));
    await Promise.all(guests.map((guest) => guest.leave()));
    await each((watcher) => watcher.lists(watcher.people));
    watchers.forEach(({ name, calls, keys }, n) => {
      assert.deepEqual(keys, before[n], `${name}, ${user}`);
      assert.deepEqual(calls, [`+${user}`, `-${user}`], `${name}, ${user}`);
    });
    watchers.forEach((watcher) => (watcher.calls = []));
  }
});
