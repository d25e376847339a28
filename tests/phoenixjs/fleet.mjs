// A fleet of real Skein processes on loopback. Each process keeps its ports
// over a restart, and its output goes to a file of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./wait.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
/** binaries is the folder of the programs under test. */
export const binaries = path.resolve(process.env.SKEIN_BIN ?? path.join(here, "../../bin"));
const logs = process.env.SKEIN_LOGS ?? mkdtempSync(path.join(tmpdir(), "skein-logs-"));

/** Process is one Skein process that can be stopped and started again. */
class Process {
  #child = null;
  #starts = 0;

  constructor(id, binary, args, admin) {
    Object.assign(this, { id, binary, args, admin });
  }

  get pid() {
    return this.#child.pid;
  }

  async start() {
    this.launch();
    await this.ready();
  }

  launch() {
    mkdirSync(logs, { recursive: true });
    this.log = path.join(logs, `${this.id}.${++this.#starts}.log`);
    const child = spawn(path.join(binaries, this.binary), this.args, { stdio: ["ignore", "pipe", "pipe"] });
    const log = createWriteStream(this.log);
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    this.#child = child;
  }

  async ready() {
    const child = this.#child;
    await eventually(`${this.id} is ready`, async () => {
      if (child.exitCode !== null) throw new Error(`${this.id} ended with status ${child.exitCode}; see ${this.log}`);
      const response = await fetch(`http://${this.admin}/readyz`).catch(() => null);
      return response?.ok;
    }, 20_000);
  }

  /** stop ends the process and waits for it. */
  async stop(signal = "SIGTERM") {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  async restart(signal = "SIGTERM") {
    await this.stop(signal);
    await this.start();
  }
}

/**
 * Fleet is 3 routers, a presence instance and 2 edges, unless told otherwise.
 * config is the text of a YAML file that all routers and edges read, edge are
 * further flags of the edges.
 */
export class Fleet {
  routers = [];
  presence = [];
  edges = [];
  #sizes;
  #config = [];
  #edgeFlags;

  constructor({ routers = 3, presence = 1, edges = 2, config = "", edge = [] } = {}) {
    this.#sizes = { routers, presence, edges };
    this.#edgeFlags = edge;
    if (config) {
      const file = path.join(mkdtempSync(path.join(tmpdir(), "skein-config-")), "skein.yaml");
      writeFileSync(file, config);
      this.#config = ["--config", file];
    }
  }

  async start() {
    // Every router knows all seeds, so that each may be restarted.
    const gossip = await addresses(this.#sizes.routers);
    for (const [i, own] of gossip.entries()) {
      await this.#member(this.routers, `router-${i + 1}`, "skein-router", own, gossip.filter((seed) => seed !== own), this.#config);
    }
    await Promise.all(this.routers.map((router) => router.ready()));
    for (const [i, own] of (await addresses(this.#sizes.presence)).entries()) {
      await this.#member(this.presence, `presence-${i + 1}`, "skein-presence", own, gossip);
    }
    await Promise.all(this.presence.map((instance) => instance.ready()));
    for (let i = 0; i < this.#sizes.edges; i++) await this.#edge(`edge-${String.fromCharCode(97 + i)}`);
    return this;
  }

  async stop() {
    for (const group of [this.edges, this.presence, this.routers]) {
      await Promise.all(group.map((process) => process.stop()));
    }
  }

  /** publish sends a message as a backend would. */
  async publish(topic, event, payload) {
    await run("skein", ["publish", topic, event, JSON.stringify(payload), "--router", this.routers[0].grpc]);
  }

  async #member(group, id, binary, gossip, join, flags = []) {
    const [grpc, admin] = await addresses(2);
    const member = new Process(id, binary, ["--id", id, "--grpc", grpc, "--gossip", gossip, "--admin", admin, "--join", join.join(","), ...flags], admin);
    member.grpc = grpc;
    group.push(member);
    member.launch();
  }

  async #edge(id) {
    const [listen, admin, agent] = await addresses(3);
    const routers = this.routers.map(({ grpc }) => grpc).join(",");
    const args = ["--id", id, "--listen", listen, "--admin", admin, "--agent", agent, "--routers", routers, "--drain-delay", "100ms", "--demo", ...this.#config, ...this.#edgeFlags];
    const edge = new Process(id, "skein-edge", args, admin);
    edge.host = listen;
    edge.url = `http://${listen}`;
    edge.socket = `ws://${listen}/socket`;
    this.edges.push(edge);
    await edge.start();
  }
}

/** run runs a command of bin/ to its end and returns what it printed. */
export async function run(binary, args) {
  const child = spawn(path.join(binaries, binary), args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  const [status] = await once(child, "close");
  if (status !== 0) throw new Error(`${binary} ${args.join(" ")} ended with status ${status}: ${output}`);
  return output;
}

// Ports of processes lie below those that the system gives to outgoing
// connections: one of these could take a port before its process listens.
const firstPort = 20000;
const ports = 12000;
let nextPort = Math.floor(Math.random() * ports);

// Free addresses of loopback; no port is handed out twice in a row.
export async function addresses(count) {
  const list = [];
  for (let tries = 0; list.length < count; tries++) {
    if (tries === ports) throw new Error("no port is free");
    nextPort = (nextPort + 1) % ports;
    const port = firstPort + nextPort;
    const server = createServer().listen(port, "127.0.0.1");
    const free = await once(server, "listening").then(() => true, () => false);
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    list.push(`127.0.0.1:${port}`);
  }
  return list;
}
