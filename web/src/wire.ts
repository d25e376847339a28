// What crosses the socket. A WebSocket that reports every frame, and the
// reading of a Phoenix V2 frame for people.

import { clip } from "./identity";

export type Direction = "in" | "out";
export type Kind = "join" | "leave" | "push" | "reply" | "broadcast" | "heartbeat" | "close" | "error" | "socket";

/** Frame is one line of the wire view. */
export interface Frame {
  number: number;
  at: number;
  direction: Direction;
  kind: Kind;
  topic: string;
  event: string;
  bytes: number;
  /** Milliseconds from the frame that this one answers. */
  after: number | null;
  text: string;
}

const maxText = 4000;
const maxWaiting = 1000;

/** Wire turns raw frames into lines, and matches answers to what they answer. */
export class Wire {
  private count = 0;
  private readonly waiting = new Map<string, { at: number; kind: Kind; event: string }>();

  constructor(private readonly report: (frame: Frame) => void) {}

  /** frame reads one frame of the socket. */
  frame(direction: Direction, data: string | ArrayBuffer): void {
    const at = performance.now();
    const message = typeof data === "string" ? readText(data) : readBinary(data, direction);
    const kind = classify(direction, message);
    const bytes = typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength;
    const line: Frame = {
      number: ++this.count, at, direction, kind, topic: message.topic, event: message.event, bytes, after: null,
      text: clip(message.text, maxText),
    };
    if (direction === "out" && message.ref) this.expect(message.ref, line);
    if (direction === "in" && message.event === "phx_reply" && message.ref) this.answer(message.ref, line);
    this.report(line);
  }

  /** note reports something about the socket itself. */
  note(event: string, text: string): void {
    this.waiting.clear();
    this.report({
      number: ++this.count, at: performance.now(), direction: "in", kind: "socket", topic: "", event, bytes: 0, after: null, text,
    });
  }

  private expect(ref: string, line: Frame): void {
    if (this.waiting.size >= maxWaiting) this.waiting.clear();
    this.waiting.set(ref, { at: line.at, kind: line.kind, event: line.event });
  }

  private answer(ref: string, line: Frame): void {
    const asked = this.waiting.get(ref);
    if (!asked) return;
    this.waiting.delete(ref);
    line.after = line.at - asked.at;
    line.event = asked.event;
    if (asked.kind === "heartbeat") line.kind = "heartbeat";
  }
}

interface Message {
  joinRef: string | null;
  ref: string | null;
  topic: string;
  event: string;
  text: string;
}

function classify(direction: Direction, message: Message): Kind {
  switch (message.event) {
    case "phx_join": return "join";
    case "phx_leave": return "leave";
    case "phx_reply": return "reply";
    case "phx_close": return "close";
    case "phx_error": return "error";
    case "heartbeat": if (message.topic === "phoenix") return "heartbeat";
  }
  return direction === "in" && message.joinRef === null ? "broadcast" : "push";
}

function readText(data: string): Message {
  try {
    const [joinRef, ref, topic, event] = JSON.parse(data) as unknown[];
    return { joinRef: name(joinRef), ref: name(ref), topic: String(topic), event: String(event), text: data };
  } catch {
    return { joinRef: null, ref: null, topic: "", event: "unreadable", text: data };
  }
}

// A V2 binary frame: the kind, one length for each name, the names, the data.
// 0 push (with a ref only towards the server), 1 reply, 2 broadcast.
function readBinary(data: ArrayBuffer, direction: Direction): Message {
  const view = new Uint8Array(data);
  const names = { 0: direction === "out" ? 4 : 3, 1: 4, 2: 2 }[view[0] ?? -1] ?? 0;
  let offset = 1 + names;
  const fields: string[] = [];
  for (let i = 1; i <= names; i++) {
    const length = view[i] ?? 0;
    fields.push(new TextDecoder().decode(view.subarray(offset, offset + length)));
    offset += length;
  }
  const text = `${view.length - offset} bytes of data`;
  switch (view[0]) {
    case 1: return { joinRef: fields[0] ?? null, ref: fields[1] ?? null, topic: fields[2] ?? "", event: "phx_reply", text };
    case 2: return { joinRef: null, ref: null, topic: fields[0] ?? "", event: fields[1] ?? "", text };
    default: return {
      joinRef: fields[0] ?? null, ref: names === 4 ? fields[1] ?? null : null, topic: fields.at(-2) ?? "", event: fields.at(-1) ?? "", text,
    };
  }
}

function name(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}

/** tapped makes the WebSocket class to give to phoenix.js, which tells the wire of every frame. */
export function tapped(wire: Wire): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener("open", () => wire.note("open", `connected to ${url}`));
      this.addEventListener("close", (event) => wire.note("closed", `code ${event.code} ${event.reason}`.trim()));
      this.addEventListener("message", (event: MessageEvent<string | ArrayBuffer>) => wire.frame("in", event.data));
    }

    override send(data: string | ArrayBuffer): void {
      wire.frame("out", data);
      super.send(data);
    }
  };
}
