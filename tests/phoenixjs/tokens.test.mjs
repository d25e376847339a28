// Tokens: who is let in, what happens when they expire or their keys change, and
// how people are thrown out.

import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { Client, Member, versions } from "./client.mjs";
import { Fleet, addresses, run } from "./fleet.mjs";
import { eventually, within } from "./wait.mjs";

const folder = mkdtempSync(path.join(tmpdir(), "skein-tokens-"));
const file = (name) => path.join(folder, name);
const [jwksAddress] = await addresses(1);
const fleet = new Fleet({
  routers: 1,
  presence: 0,
  config: `
namespaces:
  - topics: "room:*"
    join: token
`,
  edge: [
    "--token-keys", `${file("secret")},${file("rotated")}`, "--token-jwks", `http://${jwksAddress}/jwks.json`,
    "--token-jwks-refresh", "10s", "--token-leeway", "0s", "--token-grace", "5s", "--refuse-slowly-by", "0s",
    "--mounts", "[{path: /private, connect: token}]",
  ],
});
const served = { keys: [] };
const jwks = createServer((_, response) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(served)));
const clients = [];

before(async () => {
  for (const name of ["secret", "rotated", "next", "foreign"]) await makeKey(name);
  for (const name of ["first", "second"]) await makeKey(name, "ES256");
  served.keys = [publicKey("first")];
  const [host, port] = jwksAddress.split(":");
  await once(jwks.listen(port, host), "listening");
  await fleet.start();
});
after(async () => {
  clients.forEach((client) => client.close());
  await fleet.stop();
  jwks.closeAllConnections();
  await new Promise((resolve) => jwks.close(resolve));
});

async function makeKey(name, algorithm = "HS256") {
  await run("skein", ["token", "key", "--alg", algorithm, "--out", file(name)]);
}

/** publicKey is the public half of a key as JWK, with the key's name as its id. */
function publicKey(name) {
  return { ...createPublicKey(readFileSync(file(`${name}.pub`))).export({ format: "jwk" }), kid: name, use: "sig", alg: "ES256" };
}

/** token makes one with the flags of `skein token make`. */
async function token(flags = [], key = "secret") {
  return (await run("skein", ["token", "make", "--key", file(key), ...flags])).trim();
}

function connect(phoenix, edge, options = {}, mount = "/socket") {
  const quick = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 };
  const client = new Client(phoenix, `ws://${fleet.edges[edge].host}${mount}`, { ...quick, ...options });
  clients.push(client);
  return client;
}

/** refused sees that a join is refused for a reason, and gives it up. */
async function refused(client, topic, params, reason) {
  const member = new Member(client.socket.channel(topic, params), []);
  await assert.rejects(member.join(), { status: "error", response: { reason } });
  await member.leave();
}

/** ways are those of phoenix.js to give a token, as options of a socket and params of a join. */
function ways(version, value) {
  const list = [["a param of the socket", { params: { token: value } }, {}], ["params of the join", {}, { token: value }]];
  return version.startsWith("1.7.") ? list : [["authToken", { authToken: value }, {}], ...list];
}

// All at once: most of the time goes by waiting for times to pass.
describe("tokens", { concurrency: true }, () => {
  for (const [version, phoenix] of Object.entries(versions)) {
    // The oldest polls with nothing but a browser's XMLHttpRequest; see longpoll.test.mjs.
    const transports = version.startsWith("1.7.") ? { WebSocket } : { WebSocket, LongPoll: phoenix.LongPoll };

    describe(`phoenix ${version}`, { concurrency: true }, () => {
      for (const [name, transport] of Object.entries(transports)) {
        test(`over ${name} a good token is let in, however it is given`, async (t) => {
          const topic = `room:${version}:${name}`;
          const over = (edge, options) => {
            const client = connect(phoenix, edge, { transport, ...options });
            t.after(() => client.close()); // each poll keeps Node up for 20 s
            return client;
          };
          const good = await token(["--sub", "eve"]);
          const reasons = [
            [await token([], "foreign"), "token invalid"],
            [await token(["--ttl", "-1m"]), "token expired"],
          ];
          await refused(over(0), topic, {}, "token required");
          for (const [bad, reason] of reasons) {
            await refused(over(0), topic, { token: bad }, reason);
          }
          for (const [way, options, params] of ways(version, good)) {
            const member = await over(1, options).join(topic, ["e"], params);
            await member.push("e", { way });
            await eventually(`the own push of ${way}`, () => member.seen.some(([, payload]) => payload.way === way));
          }
        });
      }

      test("claims limit joins and pushes", async () => {
        const [mine, other, readable] = ["mine", "other", "readable"].map((name) => `room:${version}:${name}`);
        const limited = await token(["--topics", `${mine},${readable}`, "--push", mine]);
        const client = connect(phoenix, 0, { params: { token: limited } });
        const writer = await client.join(mine, ["e"]);
        const reader = await client.join(readable, ["e"]);
        await refused(client, other, {}, "not allowed by token");
        await writer.push("e", { n: 1 });
        await assert.rejects(reader.push("e", { n: 2 }), { status: "error", response: { reason: "not allowed by token" } });
        const writing = await connect(phoenix, 1).join(readable, [], { token: await token() });
        await writing.push("e", { n: 3 });
        await reader.sees(1);
        assert.deepEqual([await writer.sees(1), reader.seen], [[["e", { n: 1 }]], [["e", { n: 3 }]]]);
      });

      test("a mount for sockets with a token", async () => {
        const client = connect(phoenix, 0, { params: { token: await token() } }, "/private");
        await client.join(`room:${version}:private`);
      });

      test("an expired token is replaced in time, or its channel joins again", async () => {
        const topic = `room:${version}:expiry`;
        const events = ["skein:token_expired", "e"];
        const [keeping, idle] = [connect(phoenix, 0), connect(phoenix, 0)];
        await Promise.all([keeping.connected(), idle.connected()]);
        const fresh = await token();
        const short = await token(["--ttl", "10s"]);
        const keeper = await keeping.join(topic, events, { token: short });
        const given = [short];
        const idler = await idle.join(topic, events, () => ({ token: given.shift() ?? fresh }));
        keeper.channel.on("skein:token_expired", () => (keeper.refreshed = keeper.push("skein:token", { token: fresh })));
        await Promise.all([keeper.sees(1, 20_000), idler.sees(1, 20_000)]);
        assert.deepEqual([keeper.seen[0], idler.seen[0]], Array(2).fill(["skein:token_expired", { grace_ms: 5000 }]));
        assert.deepEqual(await keeper.refreshed, {});
        await eventually("the channel without a fresh token joined again", () => idler.joins === 2, 20_000);
        assert.deepEqual(idler.errors, [{ reason: "token expired" }]);
        await keeper.push("e", { still: "here" });
        await Promise.all([keeper.sees(2), idler.sees(2)]);
        assert.deepEqual([keeper.seen[1], idler.seen[1]], Array(2).fill(["e", { still: "here" }]));
        assert.deepEqual([keeper.joins, keeper.errors], [1, []]);
      });

      test("a kicked user comes back", async () => {
        const topic = `room:${version}:kick`;
        const user = `ada-${version}`;
        const sockets = [0, 1].map((edge) => connect(phoenix, edge));
        const bystander = connect(phoenix, 0);
        const [adas, bob] = [await token(["--sub", user]), await token(["--sub", "bob"])];
        const members = await Promise.all(sockets.map((client) => client.join(topic, ["e"], { token: adas })));
        const other = await bystander.join(topic, ["e"], { token: bob });
        await run("skein", ["kick", "--user", user, "--router", fleet.routers[0].grpc]);
        await eventually("both joined again", () => members.every(({ joins }) => joins === 2));
        assert.deepEqual(sockets.map(({ closes }) => closes), [[1001], [1001]]);
        assert.deepEqual([bystander.closes, other.joins], [[], 1]);
        await other.push("e", {});
        await Promise.all(members.map((member) => member.sees(1)));
      });

      test("a channel of a kicked topic is closed for good", async () => {
        const client = connect(phoenix, 0, { params: { token: await token() } });
        const kicked = await client.join(`room:${version}:closed`);
        const other = await client.join(`room:${version}:open`, ["e"]);
        await run("skein", ["kick", "--topic", `room:${version}:closed`, "--router", fleet.routers[0].grpc]);
        await eventually("the channel closed", () => kicked.closed === 1);
        assert.equal(kicked.channel.state, "closed");
        await other.push("e", {});
        await other.sees(1);
        assert.deepEqual([kicked.joins, kicked.errors, client.opens, client.closes], [1, [], 1, []]);
      });
    });
  }

  describe("HTTP and keys", { concurrency: true }, () => {
    test("a mount for sockets with a token refuses others", async () => {
      for (const query of ["", `&token=${await token([], "foreign")}`, `&token=${await token(["--ttl", "-1m"])}`]) {
        const socket = new WebSocket(`ws://${fleet.edges[0].host}/private/websocket?vsn=2.0.0${query}`);
        socket.on("error", () => {});
        const [, response] = await within("an answer", once(socket, "unexpected-response"));
        assert.equal(response.statusCode, 403);
        response.destroy();
        const poll = await fetch(`${fleet.edges[0].url}/private/longpoll?vsn=2.0.0${query}`);
        assert.equal((await poll.json()).status, 403);
      }
    });

    // What joins with the new key joins again and again until edges know the key.
    // The sockets and channels that the old one let in go on.
    async function rotate(topic, old, fresh, change) {
      const phoenix = versions["1.8.16"];
      const here = connect(phoenix, 0);
      const waiting = connect(phoenix, 1);
      const member = await here.join(topic, ["e"], { token: old });
      await refused(waiting, topic, { token: fresh }, "token invalid");
      change();
      const late = new Member(waiting.socket.channel(topic, { token: fresh }), ["e"]);
      late.join().catch(() => {});
      await eventually("the new key is known", () => late.joins === 1, 25_000);
      await refused(waiting, `${topic}:old`, { token: old }, "token invalid");
      await member.push("e", {});
      await Promise.all([member.sees(1), late.sees(1)]);
      assert.deepEqual([here.closes, waiting.closes, member.joins, member.errors], [[], [], 1, []]);
    }

    test("a key file is rewritten", async () => {
      const [old, fresh] = [await token([], "rotated"), await token([], "next")];
      await rotate("room:file", old, fresh, () => renameSync(file("next"), file("rotated")));
    });

    test("a JWKS has another key", async () => {
      const [old, fresh] = [await token(["--kid", "first"], "first"), await token(["--kid", "second"], "second")];
      await rotate("room:jwks", old, fresh, () => (served.keys = [publicKey("second")]));
    });
  });
});
