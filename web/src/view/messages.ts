// The list of messages and the line that says who is typing.

import { el, hue } from "../dom";
import { initials, type Person } from "../identity";
import { emojis, type Delivery, type Message } from "../room";

/** Actions are what a person can do to a message. */
export interface Actions {
  react(message: string, emoji: string): void;
  retry(message: Message): void;
}

const maxShown = 300;
const groupWithin = 120_000;
const typingShown = 3000;

/** Messages shows a room's messages. */
export class Messages {
  private readonly rows = new Map<string, HTMLElement>();
  private readonly typists = new Map<string, { person: Person; timer: number }>();
  private last: Message | null = null;
  private following = true;

  constructor(
    private readonly list: HTMLElement,
    private readonly typingLine: HTMLElement,
    private readonly me: () => Person,
    private readonly actions: Actions,
  ) {
    // A phone's keyboard shrinks the list; its end stays in sight.
    this.box.addEventListener("scroll", () => (this.following = this.isAtEnd()));
    new ResizeObserver(() => this.following && this.toEnd()).observe(this.box);
  }

  /** reset shows what is remembered of a room. */
  reset(remembered: Message[]): void {
    this.rows.clear();
    this.typists.forEach(({ timer }) => clearTimeout(timer));
    this.typists.clear();
    this.showTyping();
    this.last = null;
    this.list.replaceChildren();
    remembered.forEach((message) => this.add(message));
    if (remembered.length > 0) {
      this.list.append(el("li", { class: "divider" }, "earlier in this tab"));
      this.last = null;
    }
    this.toEnd();
  }

  /** has says whether a message is shown already. */
  has(id: string): boolean {
    return this.rows.has(id);
  }

  /** add shows a message, unless it is there already. */
  add(message: Message): void {
    if (this.rows.has(message.id)) return;
    this.stopTyping(message.from.id);
    const atEnd = this.isAtEnd();
    const row = this.row(message);
    this.rows.set(message.id, row);
    this.list.append(row);
    this.last = message;
    this.trim();
    if (atEnd || message.from.id === this.me().id) this.toEnd();
  }

  /** delivery says what became of an own message. */
  delivery(message: Message, delivery: Delivery, milliseconds: number | null): void {
    const row = this.rows.get(message.id);
    const note = row?.querySelector<HTMLElement>(".note");
    if (!row || !note) return;
    row.dataset.delivery = delivery;
    if (delivery === "failed") {
      const again = el("button", { type: "button", class: "link", click: () => this.actions.retry(message) }, "try again");
      note.replaceChildren("not delivered · ", again);
      return;
    }
    const delivered = milliseconds === null ? "delivered" : `through the mesh in ${duration(milliseconds)}`;
    note.textContent = delivery === "sending" ? "sending…" : delivered;
  }

  /** react counts a reaction under a message. */
  react(id: string, emoji: string, person: Person): void {
    const row = this.rows.get(id);
    const chips = row?.querySelector<HTMLElement>(".reactions");
    if (!chips) return;
    const atEnd = this.isAtEnd();
    let chip = [...chips.children].find((child) => (child as HTMLElement).dataset.emoji === emoji) as HTMLElement | undefined;
    if (!chip) {
      chip = el("button", { type: "button", class: "chip", click: () => this.actions.react(id, emoji) });
      chip.dataset.emoji = emoji;
      chip.dataset.names = "[]";
      chips.append(chip);
    }
    const names = new Set(JSON.parse(chip.dataset.names ?? "[]") as string[]).add(person.name);
    chip.dataset.names = JSON.stringify([...names].slice(0, 50));
    chip.textContent = `${emoji} ${names.size}`;
    chip.title = [...names].join(", ");
    chip.setAttribute("aria-label", `${emoji} from ${[...names].join(", ")}. React with it too`);
    if (atEnd) this.toEnd();
  }

  /** typing shows for a moment that somebody types. */
  typing(person: Person): void {
    clearTimeout(this.typists.get(person.id)?.timer);
    this.typists.set(person.id, { person, timer: setTimeout(() => this.stopTyping(person.id), typingShown) });
    this.showTyping();
  }

  private stopTyping(id: string): void {
    clearTimeout(this.typists.get(id)?.timer);
    if (this.typists.delete(id)) this.showTyping();
  }

  private showTyping(): void {
    const names = [...this.typists.values()].map(({ person }) => person.name);
    const who = names.length > 3 ? "Several people" : new Intl.ListFormat("en").format(names);
    this.typingLine.textContent = names.length === 0 ? "" : `${who} ${names.length === 1 ? "is" : "are"} typing…`;
  }

  private row(message: Message): HTMLElement {
    const own = message.from.id === this.me().id;
    const grouped = this.last?.from.id === message.from.id && message.at - this.last.at < groupWithin;
    const time = new Date(message.at);
    const row = el("li", { class: own ? "message own" : "message" });
    if (grouped) row.classList.add("grouped");
    hue(row, message.from.hue);
    row.append(
      el("span", { class: "badge", "aria-hidden": "true" }, initials(message.from.name)),
      el("div", { class: "body" },
        el("p", { class: "who" }, el("b", {}, own ? `${message.from.name} (you)` : message.from.name),
          el("time", { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))),
        el("div", { class: "line" }, el("p", { class: "text", dir: "auto" }, message.text), this.palette(message)),
        el("div", { class: "foot" },
          el("div", { class: "reactions" }),
          el("p", { class: "note" }, own || message.from.edge === "" ? "" : `sent at ${message.from.edge}`))),
    );
    return row;
  }

  private palette(message: Message): HTMLElement {
    const buttons = emojis.map((emoji) =>
      el("button", { type: "button", "aria-label": `React with ${emoji}`, click: () => this.actions.react(message.id, emoji) }, emoji));
    return el("div", { class: "palette", role: "group", "aria-label": "Reactions" }, ...buttons);
  }

  private trim(): void {
    while (this.rows.size > maxShown) {
      const [oldest] = this.rows.keys();
      this.rows.get(oldest as string)?.remove();
      this.rows.delete(oldest as string);
    }
  }

  private get box(): HTMLElement {
    return this.list.parentElement as HTMLElement;
  }

  private isAtEnd(): boolean {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 80;
  }

  private toEnd(): void {
    this.box.scrollTop = this.box.scrollHeight;
  }
}

/** duration writes milliseconds with as many digits as mean something. */
export function duration(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
