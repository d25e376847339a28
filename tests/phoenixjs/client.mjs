// A stock phoenix.js client, any published version, with the callbacks turned
// into promises and everything it saw written down.

import WebSocket from "ws";
import { eventually, within } from "./wait.mjs";

// What 1.7 takes for a browser's window when it looks for a way to poll.
globalThis.self ??= globalThis;

/** versions of the npm package under test. */
export const versions = {
  "1.7.14": await import("phoenix-1.7.14"),
  "1.8.12": await import("phoenix-1.8.12"),
  "1.8.16": await import("phoenix"),
};

/** Client is one socket. */
export class Client {
  closes = [];
  opens = 0;
  #phoenix;

  constructor(phoenix, url, options = {}) {
    this.#phoenix = phoenix;
    this.socket = new phoenix.Socket(url, { transport: WebSocket, ...options });
    this.socket.onOpen(() => this.opens++);
    this.socket.onClose((event) => this.closes.push(event.code));
    this.socket.connect();
  }

  /** join enters a topic and notes every event of the given names. */
  async join(topic, events = [], params = {}) {
    const member = new Member(this.socket.channel(topic, params), events);
    await member.join();
    return member;
  }

  async connected() {
    await eventually("the socket is open", () => this.socket.isConnected());
  }

  /** raw sends a frame that no Channel object would send, and awaits its answer. */
  async raw(topic, event, payload) {
    const ref = this.socket.makeRef();
    const answer = new Promise((resolve) => {
      this.socket.onMessage((message) => message.ref === ref && resolve(message));
    });
    this.socket.push({ topic, event, payload, ref, join_ref: null });
    return within(`an answer to ${event} on ${topic}`, answer);
  }

  close() {
    this.socket.disconnect();
  }
}

/** Member is one joined channel. */
export class Member {
  seen = [];
  errors = [];
  closed = 0;
  joins = 0;

  constructor(channel, events) {
    this.channel = channel;
    for (const event of events) channel.on(event, (payload) => this.seen.push([event, payload]));
    channel.onError((reason) => this.errors.push(reason));
    channel.onClose(() => this.closed++);
  }

  join() {
    return answer(this.channel.join().receive("ok", () => this.joins++), "join");
  }

  push(event, payload, milliseconds) {
    return answer(this.channel.push(event, payload, milliseconds), event);
  }

  leave() {
    return answer(this.channel.leave(), "leave");
  }

  /** sees waits until so many events have come, and returns them all. */
  async sees(count, milliseconds) {
    await eventually(`${count} events, got ${JSON.stringify(this.seen.slice(-5))}`, () => this.seen.length >= count, milliseconds);
    return this.seen;
  }
}

/** Refused is an error reply. */
export class Refused extends Error {
  constructor(what, status, response) {
    super(`${what}: ${status} ${JSON.stringify(response)}`);
    Object.assign(this, { status, response });
  }
}

function answer(push, what) {
  return within(`an answer to ${what}`, new Promise((resolve, reject) => {
    push
      .receive("ok", resolve)
      .receive("error", (response) => reject(new Refused(what, "error", response)))
      .receive("timeout", () => reject(new Refused(what, "timeout", null)));
  }), 15_000);
}
