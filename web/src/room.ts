// One room: a channel, the people in it and what they say. It knows nothing of
// the page; the page implements Listener.

import type { Channel, Socket } from "phoenix";
import { clip, newId, parsePerson, type Person } from "./identity";

/** Message is something a person said. */
export interface Message {
  id: string;
  from: Person;
  text: string;
  at: number;
}

export type Delivery = "sending" | "delivered" | "failed";

/** Listener is told what happens in the room. */
export interface Listener {
  joined(problem: string | null): void;
  message(message: Message): void;
  delivery(id: string, delivery: Delivery, milliseconds: number | null): void;
  typing(person: Person): void;
  reaction(message: string, emoji: string, person: Person): void;
  people(people: Person[]): void;
  /** crossed says that an event of a person went through the mesh. */
  crossed(person: Person): void;
  /** trip says how long an own event took to come back. */
  trip(milliseconds: number): void;
}

/** emojis are the reactions on offer. Others are not shown. */
export const emojis = ["👍", "❤️", "😂", "🎉", "👀"] as const;

export const maxMessage = 2000;
const maxPeople = 500;
const announceEvery = 20_000;
const goneAfter = 150_000; // browsers wake a hidden tab about once a minute
const typingEvery = 1500;

/** topicOf names the channel of a room. */
export const topicOf = (room: string): string => `room:${room}`;

/** Room is one joined channel. */
export class Room {
  private readonly channel: Channel;
  private readonly seen = new Map<string, { person: Person; at: number }>();
  private readonly sent = new Map<string, number>();
  private readonly timers: number[] = [];
  private typedAt = 0;
  private inside = false;

  constructor(socket: Socket, readonly name: string, private me: Person, private readonly listener: Listener) {
    this.channel = socket.channel(topicOf(name));
    this.channel.on("message", (payload) => this.onMessage(payload));
    this.channel.on("typing", (payload) => this.onTyping(payload));
    this.channel.on("reaction", (payload) => this.onReaction(payload));
    this.channel.on("who", (payload) => this.onWho(payload));
    this.channel.on("here", (payload) => this.meet(payload));
    this.channel.on("bye", (payload) => this.onBye(payload));
    this.channel.on("probe", (payload) => this.onProbe(payload));
    this.channel.onError(() => this.outside("the room is out of reach"));
  }

  /** join enters the room and stays in it over every reconnect. */
  join(): void {
    this.channel
      .join()
      .receive("ok", () => this.onJoined())
      .receive("error", (response) => this.outside(reason(response)))
      .receive("timeout", () => this.outside("the edge does not answer"));
    this.timers.push(setInterval(() => this.beat(), announceEvery));
  }

  /** leave says goodbye and ends the channel. */
  leave(): void {
    this.timers.forEach((timer) => clearInterval(timer));
    this.goodbye();
    this.inside = false;
    this.channel.leave();
  }

  /** goodbye tells the others that this person is going. */
  goodbye(): void {
    this.whisper("bye", { from: this.me });
  }

  /** introduce changes who this tab is, and tells the room. */
  introduce(person: Person): void {
    this.me = person;
    this.meetPerson(person);
    this.whisper("here", { from: person });
  }

  /** say sends a message. The page shows it at once; delivery follows. */
  say(text: string): void {
    const message = { id: newId(), from: this.me, text: clip(text, maxMessage), at: Date.now() };
    this.typedAt = 0;
    this.listener.message(message);
    this.resay(message);
  }

  /** resay sends a message again that failed. */
  resay(message: Message): void {
    this.listener.delivery(message.id, "sending", null);
    this.push("message", message.id, message)
      .receive("error", () => this.fail(message.id))
      .receive("timeout", () => this.fail(message.id));
  }

  /** typing tells the room that this person types, now and then. */
  typing(): void {
    const now = Date.now();
    if (now - this.typedAt < typingEvery) return;
    this.typedAt = now;
    this.whisper("typing", { from: this.me });
  }

  /** react adds a reaction to a message. */
  react(message: string, emoji: string): void {
    this.whisper("reaction", { from: this.me, message, emoji });
  }

  /** probe sends an event that only measures how long it takes to come back. */
  probe(): void {
    const id = newId();
    if (this.inside) this.push("probe", id, { from: this.me, id });
  }

  // For what is worth nothing later: phoenix.js would keep it until the next join.
  private whisper(event: string, payload: object): void {
    if (this.inside) this.channel.push(event, payload);
  }

  private outside(problem: string): void {
    this.inside = false;
    this.listener.joined(problem);
  }

  private push(event: string, id: string, payload: object) {
    this.sent.set(id, performance.now());
    return this.channel.push(event, payload);
  }

  private fail(id: string): void {
    if (this.sent.delete(id)) this.listener.delivery(id, "failed", null);
  }

  // The own event came back: the mesh delivered it to this tab as to any other.
  private back(id: string): number | null {
    const at = this.sent.get(id);
    if (at === undefined) return null;
    this.sent.delete(id);
    const trip = performance.now() - at;
    this.listener.trip(trip);
    return trip;
  }

  private onJoined(): void {
    this.inside = true;
    this.seen.clear();
    this.meetPerson(this.me);
    this.listener.joined(null);
    this.whisper("who", { from: this.me });
  }

  private onMessage(payload: unknown): void {
    const message = parseMessage(payload);
    if (!message) return;
    this.meetPerson(message.from);
    this.listener.crossed(message.from);
    this.listener.message(message);
    if (message.from.id === this.me.id) this.listener.delivery(message.id, "delivered", this.back(message.id));
  }

  private onTyping(payload: unknown): void {
    const person = this.meet(payload);
    if (person && person.id !== this.me.id) this.listener.typing(person);
  }

  private onReaction(payload: unknown): void {
    const person = this.meet(payload);
    const { message, emoji } = payload as Record<string, unknown>;
    if (!person || typeof message !== "string" || !emojis.some((known) => known === emoji)) return;
    this.listener.crossed(person);
    this.listener.reaction(message, emoji as string, person);
  }

  // Everybody in the room answers a newcomer, spread over a moment.
  private onWho(payload: unknown): void {
    const person = this.meet(payload);
    if (!person || person.id === this.me.id) return;
    this.timers.push(setTimeout(() => this.whisper("here", { from: this.me }), Math.random() * 300));
  }

  private onBye(payload: unknown): void {
    const person = parsePerson((payload as Record<string, unknown> | null)?.from);
    if (!person) return;
    // The goodbye of this tab's page before a reload may come late.
    if (person.id === this.me.id) return this.whisper("here", { from: this.me });
    if (this.seen.delete(person.id)) this.tellPeople();
  }

  private onProbe(payload: unknown): void {
    const person = this.meet(payload);
    if (person) this.listener.crossed(person);
    if (person?.id === this.me.id) this.back(String((payload as Record<string, unknown>).id));
  }

  private meet(payload: unknown): Person | null {
    const person = parsePerson((payload as Record<string, unknown> | null)?.from);
    if (person) this.meetPerson(person);
    return person;
  }

  private meetPerson(person: Person): void {
    const known = this.seen.get(person.id)?.person;
    if (!known && this.seen.size >= maxPeople) return;
    this.seen.set(person.id, { person, at: Date.now() });
    if (known?.name !== person.name || known.edge !== person.edge || known.hue !== person.hue) this.tellPeople();
  }

  private beat(): void {
    this.whisper("here", { from: this.me });
    const limit = Date.now() - goneAfter;
    for (const [id, { at }] of this.seen) {
      if (at < limit && id !== this.me.id) this.seen.delete(id);
    }
    this.tellPeople();
  }

  private tellPeople(): void {
    const others = [...this.seen.values()].map(({ person }) => person).filter(({ id }) => id !== this.me.id);
    others.sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
    this.listener.people([this.me, ...others]);
  }
}

/** parseMessage accepts a message that came over the wire or out of storage. */
export function parseMessage(payload: unknown): Message | null {
  if (typeof payload !== "object" || payload === null) return null;
  const { id, text, at } = payload as Record<string, unknown>;
  const from = parsePerson((payload as Record<string, unknown>).from);
  if (!from || typeof id !== "string" || id === "" || id.length > 64) return null;
  if (typeof text !== "string" || text === "") return null;
  const time = typeof at === "number" && Math.abs(at) < 8e15 ? at : Date.now();
  return { id, from, text: clip(text, maxMessage), at: time };
}

function reason(response: unknown): string {
  const text = (response as Record<string, unknown> | null)?.reason;
  return typeof text === "string" ? clip(text, 200) : "the join was refused";
}
