// The live view of the frames that cross the socket.

import { el, must } from "../dom";
import type { Frame, Kind } from "../wire";
import { duration } from "./messages";

const maxRows = 200;

const labels: Record<Kind, string> = {
  join: "join", leave: "leave", push: "push", reply: "reply", broadcast: "bcast", heartbeat: "beat", close: "close",
  error: "error", socket: "socket",
};

/** WireView lists frames, newest first, and counts them. */
export class WireView {
  private readonly list = must<HTMLElement>("#frames");
  private readonly quiet = must<HTMLInputElement>("#hide-beats");
  private readonly pause = must<HTMLButtonElement>("#pause");
  private readonly totals = { in: { frames: 0, bytes: 0 }, out: { frames: 0, bytes: 0 } };
  private paused = false;
  private pending: Frame[] = [];
  private scheduled = false;

  constructor() {
    this.pause.addEventListener("click", () => this.togglePause());
    must("#clear").addEventListener("click", () => this.list.replaceChildren());
    this.quiet.addEventListener("change", () => this.list.classList.toggle("quiet", this.quiet.checked));
    this.list.classList.toggle("quiet", this.quiet.checked);
  }

  /** add shows a frame with the next picture that the browser draws. */
  add(frame: Frame): void {
    if (frame.kind !== "socket") {
      const total = this.totals[frame.direction];
      total.frames += 1;
      total.bytes += frame.bytes;
    }
    this.pending.push(frame);
    if (this.pending.length > maxRows) this.pending.shift();
    if (this.scheduled) return;
    this.scheduled = true;
    // A timer rather than an animation frame, which a hidden tab never gets.
    setTimeout(() => this.draw(), 50);
  }

  private draw(): void {
    this.scheduled = false;
    must("#out-total").textContent = total(this.totals.out);
    must("#in-total").textContent = total(this.totals.in);
    if (this.paused) return;
    this.list.prepend(...this.pending.splice(0).reverse().map(row));
    while (this.list.children.length > maxRows) this.list.lastElementChild?.remove();
  }

  private togglePause(): void {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    this.pause.textContent = this.paused ? "Resume" : "Pause";
    if (!this.paused) this.draw();
  }
}

function row(frame: Frame): HTMLElement {
  const arrow = frame.direction === "out" ? "↑" : "↓";
  const direction = frame.direction === "out" ? "sent" : "received";
  const item = el("li", { class: `frame ${frame.kind} ${frame.direction}` });
  const summary = el("summary", {},
    frame.kind === "socket" ? el("span", { class: "arrow", "aria-hidden": "true" }, "•")
      : el("span", { class: "arrow" }, el("span", { "aria-hidden": "true" }, arrow), el("span", { class: "hidden" }, direction)),
    el("span", { class: "kind" }, labels[frame.kind]),
    el("span", { class: "event" }, frame.event),
    el("span", { class: "after" }, frame.after === null ? "" : duration(frame.after)),
    el("span", { class: "bytes" }, frame.bytes === 0 ? "" : `${frame.bytes} B`));
  item.append(el("details", {}, summary, el("pre", { tabindex: "0" }, frame.text)));
  return item;
}

function total({ frames, bytes }: { frames: number; bytes: number }): string {
  const size = bytes < 10_000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
  return `${frames} ${frames === 1 ? "frame" : "frames"}, ${size}`;
}
