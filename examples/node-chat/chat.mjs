// A chat whose rules live here and whose clients stay with Skein: routers ask it
// over gRPC who may join a room and what becomes of a message.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { servePage } from "./page.mjs";

const HISTORY_LENGTH = 20;
const banned = /\b(spam|scam)\b/i;
const goodName = /^[a-z0-9_]{1,20}$/;

const secret = process.env.CHAT_SECRET ?? randomBytes(32); // signs tokens; new with each start
const names = new Set(); // that have a token
const rooms = new Map(); // topic to { guests, history }: in memory, so run one of this program

const sign = (name) => createHmac("sha256", secret).update(name).digest();
const json = (value) => Buffer.from(JSON.stringify(value));
const payload = (value) => ({ json: json(value) });

/** parse reads JSON bytes; what is no object is read as an empty one. */
function parse(bytes) {
  try {
    return Object(JSON.parse(bytes ?? "{}"));
  } catch {
    return {};
  }
}

/** room finds a room or opens it. Who opens a private one is its first guest. */
function room(topic, name) {
  if (!rooms.has(topic)) {
    const guests = topic.startsWith("room:private:") ? new Set([name]) : null; // null: everybody
    rooms.set(topic, { guests, history: [] });
  }
  return rooms.get(topic);
}

const refuse = (reason) => ({ refused: true, reply: payload({ reason }) });
const answer = (status, response = {}) => ({ reply: { status, response: payload(response) } });
const error = (reason) => answer("error", { reason });

/** join lets a client into a room. Its params are {name, token}; the first join of a name needs no token, and its reply brings one. */
function join({ caller, params }) {
  const { name, token } = parse(params?.json);
  if (!goodName.test(name)) return refuse("a name of 1 to 20 letters, digits or _ is needed");
  if (!token && names.has(name)) return refuse("this name is taken: join with its token");
  if (token && !isToken(token, name)) return refuse("this token is not for this name");
  const { guests, history } = room(caller.topic, name);
  if (guests && !guests.has(name)) return refuse("by invitation only");
  names.add(name);
  return {
    reply: payload({ token: sign(name).toString("hex") }),
    assigns: json({ name }), // comes back with every push of this channel
    pushes: [{ name: "history", payload: payload({ messages: history }) }],
    presence: { key: name, meta: json({ since: new Date() }) },
  };
}

function isToken(token, name) {
  const given = Buffer.from(String(token), "hex");
  const right = sign(name);
  return given.length === right.length && timingSafeEqual(given, right);
}

/** push takes what a member of a room sends. */
function push({ caller, event, payload }) {
  const { name } = parse(caller.assigns);
  const here = room(caller.topic, name);
  const sent = parse(payload?.json);
  switch (event) {
    case "say":
      return say(here, name, sent.text);
    case "invite":
      return invite(here, sent.name);
    default:
      return error("say or invite");
  }
}

/** say tells everybody in the room, the sender included. */
function say(here, from, text) {
  if (typeof text !== "string" || text === "" || text.length > 500) return error("a text of 1 to 500 characters is needed");
  if (banned.test(text)) return error("that word is not said here");
  const message = { from, text, at: new Date() };
  here.history = [...here.history, message].slice(-HISTORY_LENGTH);
  return { ...answer("ok"), broadcasts: [{ event: { name: "said", payload: payload(message) } }] };
}

function invite(here, name) {
  if (!here.guests) return error("this room is open to everybody");
  if (!goodName.test(name)) return error("whom?");
  here.guests.add(name);
  return answer("ok");
}

// Every method is a plain function here; gRPC wants callbacks.
const unary = (method) => (call, callback) => {
  try {
    callback(null, method(call.request));
  } catch (problem) {
    console.error(problem);
    callback({ code: grpc.status.INTERNAL, details: "the chat failed" });
  }
};

const definition = loadSync("skein/handler/v1/handler.proto", {
  includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
});
const { ChannelHandler } = grpc.loadPackageDefinition(definition).skein.handler.v1;

const server = new grpc.Server();
server.addService(ChannelHandler.service, { join: unary(join), push: unary(push), leave: unary(() => ({})) });
const listen = process.env.CHAT_LISTEN ?? "127.0.0.1:50051";
server.bindAsync(listen, grpc.ServerCredentials.createInsecure(), (problem) => {
  if (problem) throw problem;
  console.error(`node-chat: deciding about rooms at ${listen}`);
});
const page = servePage(process.env.CHAT_PAGE ?? "127.0.0.1:8080", process.env.CHAT_SOCKET ?? "ws://127.0.0.1:4000/socket");

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    page.close();
    page.closeAllConnections();
    server.tryShutdown(() => process.exit(0));
    setTimeout(() => process.exit(0), 1000).unref();
  });
}
