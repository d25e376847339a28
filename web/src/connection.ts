// The socket of this tab: its state, how fast the edge answers, and which edge
// that is.

import { Socket } from "phoenix";
import { clip } from "./identity";
import { tapped, type Wire } from "./wire";

export type State = "connecting" | "open" | "lost";

/** Edge is the process that serves this tab. */
export interface Edge {
  edge: string;
  version: string;
}

/** Listener is told what happens to the connection. */
export interface Listener {
  state(state: State): void;
  edge(edge: Edge): void;
}

const pingEvery = 5000;

/** Connection keeps one Phoenix socket to the edge that served the page. */
export class Connection {
  readonly socket: Socket;
  private opened = false;

  constructor(wire: Wire, private readonly listener: Listener) {
    this.socket = new Socket("/socket", { transport: tapped(wire) });
    this.socket.onOpen(() => this.open());
    this.socket.onClose(() => this.listener.state("lost"));
  }

  /** start connects, and comes back by itself whenever the connection breaks. */
  start(): void {
    this.listener.state("connecting");
    this.socket.connect();
    setInterval(() => this.ping(), pingEvery);
  }

  private open(): void {
    this.opened = true;
    this.listener.state("open");
    this.ping();
    void this.learnEdge();
  }

  // The answer is a frame, so the wire measures it.
  private ping(): void {
    if (this.opened && !document.hidden) this.socket.ping(() => {});
  }

  // After a restart another edge may serve this tab, so it asks every time.
  private async learnEdge(): Promise<void> {
    try {
      const response = await fetch("/demo.json", { cache: "no-store" });
      if (!response.ok) return;
      const { edge, version } = (await response.json()) as Record<string, unknown>;
      this.listener.edge({ edge: label(edge), version: label(version) });
    } catch {
      // The connection is already gone again; its next opening asks anew.
    }
  }
}

function label(value: unknown): string {
  return typeof value === "string" ? clip(value, 64) : "";
}
