// Tokens of clients on real edges: who is let in, what they may do, what happens
// when they expire or their keys change, and who is thrown out.

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createPublicKey } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { Client, Member, Refused, versions } from "./client.mjs";
import { Fleet, run } from "./fleet.mjs";
import { eventually } from "./wait.mjs";

const phoenix = versions["1.8.16"];
const folder = mkdtempSync(path.join(tmpdir(), "skein-tokens-"));
const file = (name) => path.join(folder, name);
const config = `
namespaces:
  - {topics: "room:*", join: token}
  - {topics: "open:*"}
`;
const quick = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 };

const key = (alg, name) => run("skein", ["token", "key", "--alg", alg, "--out", file(name)]);
const make = async (name, ...args) => (await run("skein", ["token", "make", "--key", file(name), ...args])).trim();

/** refused asserts that a join is refused for a reason, and gives it up. */
async function refused(client, topic, params, reason) {
  const member = new Member(client.socket.channel(topic, params), []);
  await assert.rejects(member.join(), (error) => error instanceof Refused && error.response?.reason === reason, reason);
  member.channel.leave();
}

describe("keys in files", () => {
  const clients = [];
  let fleet;
  before(async () => {
    await key("HS256", "secret");
    await key("HS256", "other");
    const flags = ["--token-keys", file("secret"), "--token-grace", "1500ms", "--token-leeway", "0s", "--mounts", "[{path: /private, connect: token}]"];
    fleet = await new Fleet({ routers: 2, edges: 2, config, edge: flags }).start();
  });
  after(async () => {
    clients.forEach((client) => client.close());
    await fleet.stop();
  });
  const connect = (options, edge = 0, mount = "socket", version = phoenix) => {
    const client = new Client(version, `ws://${fleet.edges[edge].host}/${mount}`, { ...quick, ...options });
    clients.push(client);
    return client;
  };

  test("without a good token nobody joins, and open topics stay open", async () => {
    const client = connect();
    await refused(client, "room:1", {}, "token required");
    await refused(client, "room:1", { token: "a.b.c" }, "token invalid");
    await refused(client, "room:1", { token: await make("other") }, "token invalid");
    await refused(client, "room:1", { token: await make("secret", "--ttl", "-1m") }, "token expired");
    await client.join("open:1");
    assert.deepEqual(client.closes, []);
  });

  for (const [version, library] of Object.entries(versions)) {
    test(`phoenix ${version}: in the join, as a param, and as authToken`, async () => {
      const token = await make("secret", "--sub", "ada");
      await connect({}, 0, "socket", library).join("room:1", [], { token });
      await connect({ params: { token } }, 1, "socket", library).join("room:1");
      if (version.startsWith("1.8.")) await connect({ authToken: token }, 0, "socket", library).join("room:1");
      if (version.startsWith("1.8.")) await connect({ authToken: token, transport: library.LongPoll }, 1, "socket", library).join("room:1");
    });
  }

  test("claims say which topics may be joined and pushed to", async () => {
    const token = await make("secret", "--topics", "room:a*", "--push", "room:ab");
    const client = connect({ authToken: token });
    const quiet = await client.join("room:a");
    await assert.rejects(quiet.push("e", {}), (error) => error.response?.reason === "not allowed by token");
    await (await client.join("room:ab", ["e"])).push("e", {});
    await refused(client, "room:b", {}, "not allowed by token");
  });

  test("a mount that wants tokens answers 403 without one", async () => {
    const headers = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const [host, port] = fleet.edges[0].host.split(":");
    const asked = request({ host, port, path: "/private/websocket?vsn=2.0.0", headers }).end();
    const [answer] = await once(asked, "response");
    assert.equal(answer.statusCode, 403);
    asked.destroy();
    await connect({ authToken: await make("secret") }, 0, "private").join("room:1");
  });

  test("a token that expires is announced, and a fresh one keeps the channel", async () => {
    const member = await connect().join("room:1", ["skein:token_expired", "e"], { token: await make("secret", "--ttl", "3s") });
    await member.sees(1);
    assert.deepEqual(member.seen[0], ["skein:token_expired", { grace_ms: 1500 }]);
    await assert.rejects(member.push("skein:token", { token: "nonsense" }), Refused);
    assert.deepEqual(await member.push("skein:token", { token: await make("secret") }), {});
    await new Promise((resolve) => setTimeout(resolve, 2000)); // longer than the grace
    await member.push("e", {});
    assert.deepEqual([member.joins, member.errors], [1, []]);
  });

  test("without a fresh one the channel ends, and phoenix.js joins again with what it has by then", async () => {
    let token = await make("secret", "--ttl", "3s");
    const client = connect();
    const member = new Member(client.socket.channel("room:1", () => ({ token })), ["e"]);
    await member.join();
    token = await make("secret");
    await eventually("the channel is joined again", () => member.joins === 2);
    assert.equal(member.errors.length, 1);
    await member.push("e", {});
    assert.deepEqual(client.closes, []);
  });

  test("a kicked user comes back, and out of a topic stays out", async () => {
    const client = connect({ authToken: await make("secret", "--sub", "ada") });
    const bystander = connect({ authToken: await make("secret", "--sub", "bob") }, 1);
    const [room, other, bob] = [await client.join("room:k"), await client.join("room:l"), await bystander.join("room:k")];
    const kick = (...args) => run("skein", ["kick", ...args, "--router", fleet.routers[0].grpc]);
    await kick("--user", "ada");
    await eventually("ada is back", () => room.joins === 2 && other.joins === 2);
    assert.deepEqual([client.closes, bystander.closes], [[1001], []]);
    await kick("--topic", "room:k", "--user", "ada");
    await eventually("ada is out of the room", () => room.closed === 1);
    await other.push("e", {});
    await bob.push("e", {});
    assert.deepEqual([client.closes, room.joins, bob.closed], [[1001], 2, 0]);
  });

  test("keys are rotated under open sockets", async () => {
    const client = connect();
    const member = await client.join("room:r", ["e"], { token: await make("secret") });
    writeFileSync(file("secret"), readFileSync(file("other")));
    await eventually("the new key counts", async () => {
      const joining = new Member(client.socket.channel(`room:r:${Date.now()}`, { token: await make("other") }), []);
      return joining.join().then(() => true, () => joining.channel.leave() && false);
    }, 30_000);
    await member.push("e", {});
    assert.deepEqual([client.closes, member.joins], [[], 1]);
  });
});

describe("keys from a JWKS", () => {
  const jwks = { keys: [] };
  const server = createServer((_, response) => response.setHeader("content-type", "application/json").end(JSON.stringify(jwks)));
  let fleet, client;
  const publish = (name, kid) => jwks.keys.push({ ...createPublicKey(readFileSync(file(`${name}.pub`))).export({ format: "jwk" }), kid, use: "sig" });
  before(async () => {
    await Promise.all([key("ES256", "es256"), key("EdDSA", "eddsa")]);
    publish("es256", "first");
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${server.address().port}/jwks.json`;
    fleet = await new Fleet({ routers: 1, edges: 1, config, edge: ["--token-jwks", url] }).start();
    client = new Client(phoenix, fleet.edges[0].socket, quick);
  });
  after(async () => {
    client.close();
    await fleet.stop();
    server.close();
    server.closeAllConnections();
  });

  test("its keys count, and one that is added later is found", async () => {
    const member = await client.join("room:1", ["e"], { token: await make("es256", "--kid", "first") });
    await refused(client, "room:2", { token: await make("eddsa", "--kid", "first") }, "token invalid");
    publish("eddsa", "second");
    await eventually("the added key counts", async () => {
      const joining = new Member(client.socket.channel(`room:${Date.now()}`, { token: await make("eddsa", "--kid", "second") }), []);
      return joining.join().then(() => true, () => joining.channel.leave() && false);
    }, 30_000);
    await member.push("e", {});
    assert.deepEqual(client.closes, []);
  });
});
