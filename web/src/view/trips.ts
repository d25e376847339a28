// How long this tab's own events took through the mesh and back.

import { must, svg } from "../dom";
import { duration } from "./messages";

const kept = 120;
const width = 320;
const height = 48;

/** Trips draws the latest round trips and says their median and 99th percentile. */
export class Trips {
  private readonly box = must<SVGSVGElement>("#trips");
  private readonly summary = must<HTMLElement>("#trip-summary");
  private readonly values: number[] = [];
  private scheduled = false;

  /** add notes one round trip. */
  add(milliseconds: number): void {
    this.values.push(milliseconds);
    if (this.values.length > kept) this.values.shift();
    if (this.scheduled) return;
    this.scheduled = true;
    setTimeout(() => this.draw(), 100);
  }

  private draw(): void {
    this.scheduled = false;
    const sorted = [...this.values].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    this.summary.textContent = `median ${duration(at(0.5))} · p99 ${duration(at(0.99))} · last ${this.values.length}`;
    const top = Math.max(1, at(1));
    const step = width / kept;
    const bars = this.values.map((value, index) => {
      const size = Math.max(2, (value / top) * (height - 4));
      return svg("rect", { x: (index * step).toFixed(1), y: (height - size).toFixed(1), width: (step * 0.7).toFixed(2), height: size.toFixed(1), rx: 0.8 });
    });
    this.box.replaceChildren(...bars);
  }
}
