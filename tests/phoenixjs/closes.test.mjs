// Every way in which Skein ends a connection, and that phoenix.js with its own
// timing comes back from it: the socket opens again, the channel is joined again
// and hears what is said then.
//
//   what happens                         over WebSocket     over long-poll
//   the edge drains                      1012               1011
//   the edge is killed                   1006               1011
//   `skein kick`                         1001               3410, see below
//   silent for too long                  1002               3410, see below
//   broken framing                       1002               (none)
//   text that is not UTF-8               1007               (none)
//   a frame or a request is too big      1009               1011
//   not a message of Phoenix's protocol  1011               1011 or 3410
//   reads too slowly                     1013               1011
//   its address has too many already     1006 or 1008       1008
//
// Over long-poll the codes are phoenix.js' own for the status that it is answered:
// 1011 for 500, and for a POST that was not taken in, 1008 for 403, and 3410 for a
// GET that is answered 410. Over WebSocket an address that has too many is refused
// before the upgrade, which clients see as 1006; 1008 is for those that came at the
// same moment. Either way they try again until there is room.
//
// There is one exception, the same with Phoenix, which answers 410 to the poll of
// a client that was kicked or had not polled for too long: phoenix.js before 1.8.2
// opens a session anew, but takes its channels for joined.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import XMLHttpRequest from "xhr2";
import { Client, versions } from "./client.mjs";
import { Fleet, run } from "./fleet.mjs";
import { Proxy } from "./proxy.mjs";
import { eventually, within } from "./wait.mjs";

const key = path.join(mkdtempSync(path.join(tmpdir(), "skein-closes-")), "key");
before(() => run("skein", ["token", "key", "--out", key]));

const perAddress = 30; // more than clients of one test and what those before left behind
const flags = [
  "--drain-delay", "0s", "--outbox-bytes", "16384", "--send-buffer", "8192", "--sockets-per-ip", `${perAddress}`, "--token-keys", key, "--longpoll-window", "2s",
  "--mounts", "[{path: /strict, timeout: 1s, longpoll_window: 1s, max_frame_size: 4096, max_fragmented_message_size: 4096}, {path: /private, connect: token}]",
];

// More than an edge, and the kernel, keep for a socket that nobody reads.
const flood = { text: "x".repeat(60_000) };
const floods = 120;

// Endings of a client's connection to the first edge, for the reason that their
// name says. Each has the code that a WebSocket is closed with.
const endings = [
  {
    name: "the edge drains", code: 1012,
    async end({ edge }) {
      await edge.restart("SIGTERM");
    },
  },
  {
    name: "the edge is killed", code: 1006,
    async end({ edge }) {
      await edge.restart("SIGKILL");
    },
  },
  {
    name: "the user is kicked", code: 1001, mount: "/private",
    async end({ user, fleet }) {
      await run("skein", ["kick", "--user", user, "--router", fleet.routers[0].grpc]);
    },
  },
  {
    name: "it is silent for too long", code: 1002, mount: "/strict",
    end({ client }) {
      client.socket.onClose(() => (client.socket.heartbeatIntervalMs = 200)); // when it comes back
    },
  },
  {
    name: "it sends a frame that is not masked", code: 1002,
    end({ client }) {
      client.socket.conn._socket.write(Uint8Array.of(0x81, 1, 0x61));
    },
  },
  {
    name: "it sends text that is not UTF-8", code: 1007,
    end({ client }) {
      client.socket.conn.send(Uint8Array.of(0xff), { binary: false });
    },
  },
  {
    name: "it sends a frame that is too big", code: 1009, mount: "/strict",
    end({ member }) {
      member.channel.push("big", { text: "x".repeat(5000) });
    },
  },
  {
    name: "it does not speak Phoenix's protocol", code: 1011,
    end({ client }) {
      client.socket.conn.send("hello");
    },
  },
  {
    name: "it reads too slowly", code: 1013,
    async end({ client, speaker, witness }) {
      let passed = 0;
      (await witness()).channel.on("flood", () => passed++);
      client.socket.conn.pause();
      for (let sent = 1; sent <= floods; sent++) {
        await speaker.push("flood", flood);
        await eventually("the edge has it, for the client too", () => passed === sent);
      }
      client.socket.conn.resume(); // to what the kernel had taken, and the close
    },
  },
];

// Endings of a long-poll client's session at the first edge, in the same way.
const pollEndings = [
  { ...endings[0], code: 1011 },
  { ...endings[1], code: 1011 },
  { ...endings[2], code: 3410, since: "1.8.2" },
  {
    name: "its computer slept", code: 3410, mount: "/strict", since: "1.8.2",
    end({ client }) {
      const connection = client.socket.conn;
      const poll = connection.poll.bind(connection);
      connection.poll = () => {
        connection.poll = poll;
        setTimeout(poll, 3000); // a session waits one and a half
      };
    },
  },
  { ...endings[6], name: "it sends a request that is too big", code: 1011 },
  { ...endings[7], code: "1011 or 3410" },
  {
    name: "it polls too slowly", code: 1011,
    async end({ client, speaker }) {
      await eventually("more between two polls than may wait", async () => {
        await Promise.all([0, 1].map(() => speaker.push("flood", flood)));
        return client.closes.length > 0;
      });
    },
  },
];

/** comesBack waits until the client, whose connection ends with code, is as it was. */
async function comesBack({ client, member, speaker }, code) {
  await eventually("the client saw an end", () => client.closes.length > 0);
  assert.match(`${code}`, RegExp(`\\b${client.closes[0]}\\b`));
  await eventually("the channel is joined again", () => member.joins > 1 && member.channel.state === "joined", 20_000);
  assert.ok(client.opens > 1 && client.socket.isConnected());
  await speaker.push("after", { all: "is well" });
  assert.deepEqual(await member.sees(1), [["after", { all: "is well" }]]);
  assert.ok(!client.closes.includes(1000), `closed with ${client.closes}: old clients stay away after 1000`);
}

let rooms = 0;

/**
 * setting is a client with a channel on the first edge, and one on the second who
 * speaks there. A witness joins the channel on the first edge.
 */
async function setting(t, fleet, phoenix, { url = fleet.edges[0].url, mount = "/socket", transport = WebSocket } = {}) {
  const room = `room:closes:${++rooms}`;
  const user = `user-${rooms}`;
  const token = (await run("skein", ["token", "make", "--key", key, "--sub", user])).trim();
  const connect = (to, options) => {
    const client = new Client(phoenix, to, options);
    t.after(() => client.close());
    return client;
  };
  const client = connect(`${url.replace("http", "ws")}${mount}`, { transport, params: { token } });
  const member = await client.join(room, ["after"]);
  const speaker = await connect(fleet.edges[1].socket).join(room);
  const witness = () => connect(fleet.edges[0].socket).join(room);
  return { client, member, speaker, witness, user, fleet, edge: fleet.edges[0] };
}

for (const engine of ["auto", "portable"]) {
  describe(`engine ${engine}`, () => {
    const fleet = new Fleet({ routers: 1, presence: 0, edge: [...flags, "--engine", engine] });
    let serving = 0;
    const balancer = new Proxy(() => [fleet.edges[serving].host], { webSockets: true });
    before(async () => {
      await fleet.start();
      await balancer.start();
    });
    after(async () => {
      await balancer.stop();
      await fleet.stop();
    });

    // elsewhere ends the first edge of a client of the balancer, who is let in by
    // the second.
    async function elsewhere(signal) {
      serving = 1;
      await fleet.edges[0].stop(signal);
    }
    async function restored() {
      await fleet.edges[0].start();
      serving = 0;
    }

    // full has a client whose address has all the connections that it may have,
    // and which is let in when one of them ends.
    async function full(t, phoenix, options, codes) {
      await fleet.edges[0].restart(); // nothing of the tests before counts
      const others = Array.from({ length: perAddress }, () => new WebSocket(`${fleet.edges[0].socket}/websocket?vsn=2.0.0`));
      t.after(() => others.forEach((socket) => socket.close()));
      await within("all of them", Promise.all(others.map((socket) => once(socket, "open"))));
      const client = new Client(phoenix, fleet.edges[0].socket, options);
      t.after(() => client.close());
      const joining = client.join(`room:closes:${++rooms}`, ["after"]);
      await eventually("it was refused twice", () => client.closes.length > 1);
      others[0].close();
      const member = await joining;
      await member.push("after", {});
      await member.sees(1);
      // Before it polls again, 1.7 closes what is closed, without a code.
      const seen = client.closes.filter((code) => code !== undefined);
      assert.deepEqual(seen.filter((code) => !codes.includes(code)), []);
    }

    for (const [version, phoenix] of Object.entries(versions)) {
      describe(`phoenix ${version}`, () => {
        for (const { name, code, mount, end } of endings) {
          test(`${code}: ${name}`, async (t) => {
            const all = await setting(t, fleet, phoenix, { mount });
            await end(all);
            await comesBack(all, code);
          });
        }

        for (const [signal, code] of [["SIGTERM", 1012], ["SIGKILL", 1006]]) {
          test(`${code}: ${signal}, and a balancer that knows another edge`, async (t) => {
            const all = await setting(t, fleet, phoenix, { url: balancer.url });
            await elsewhere(signal);
            t.after(restored);
            await comesBack(all, code);
            assert.deepEqual(all.client.closes, [code], "one end, one reconnect");
          });
        }

        test("1006 or 1008: its address has too many sockets, until one goes", (t) => full(t, phoenix, { transport: WebSocket }, [1006, 1008]));
      });

      if (engine === "portable") continue; // polls have no engine

      describe(`phoenix ${version} over long-poll`, () => {
        // The oldest knows nothing but a browser's XMLHttpRequest; the others fetch.
        before(() => version.startsWith("1.7.") && (globalThis.XMLHttpRequest = XMLHttpRequest));
        after(() => delete globalThis.XMLHttpRequest);
        const poll = { transport: phoenix.LongPoll };

        for (const { name, code, mount, end, since } of pollEndings) {
          if (since && version.startsWith("1.7.")) {
            test(`${name}: it goes on without its channels, as with Phoenix`, async (t) => {
              const all = await setting(t, fleet, phoenix, { mount, ...poll });
              await end(all);
              await eventually("another session", () => all.client.opens > 1);
              assert.deepEqual([all.client.closes, all.member.channel.state, all.member.joins], [[], "joined", 1]);
            });
            continue;
          }
          test(`${code}: ${name}`, async (t) => {
            const all = await setting(t, fleet, phoenix, { mount, ...poll });
            await end(all);
            await comesBack(all, code);
          });
        }

        test("1008: its address has too many connections, until one goes", (t) => full(t, phoenix, poll, [1008]));

        for (const signal of ["SIGTERM", "SIGKILL"]) {
          test(`1011: ${signal}, and a balancer that knows another edge`, async (t) => {
            const all = await setting(t, fleet, phoenix, { url: balancer.url, ...poll });
            await elsewhere(signal);
            t.after(restored);
            await comesBack(all, 1011);
          });
        }
      });
    }
  });
}
