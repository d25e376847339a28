// A picture of the mesh as this tab knows it: people, the edges that hold their
// sockets, and the router that owns the room's topic. A dot runs along the
// threads whenever an event crosses.

import { hue, must, svg } from "../dom";
import { clip, type Person } from "../identity";

const width = 340;
const owner = { x: width / 2, y: 30 };
const edgeY = 104;
const personY = 172;
const maxEdges = 4;
const maxPeople = 16;
const hop = 260; // milliseconds that a dot takes for one thread
const pulseEvery = 120; // milliseconds; a burst of events is one pulse

interface Branch {
  id: string;
  x: number;
  people: Person[];
}

/** MeshMap draws the threads from people over edges to the owner. */
export class MeshMap {
  private readonly box = must<SVGSVGElement>("#map");
  private readonly threads = new Map<string, SVGPathElement>();
  private readonly dots = svg("g");
  private branches: Branch[] = [];
  private pulsedAt = 0;
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");

  /** show draws the mesh for these people; the first one is this tab's own. */
  show(room: string, people: Person[]): void {
    this.branches = branchesOf(people);
    this.threads.clear();
    const below = svg("g");
    const above = svg("g");
    for (const branch of this.branches) this.drawBranch(branch, people[0]?.id ?? "", below, above);
    above.append(node(owner.x, owner.y, 9, "owner", ""), text(owner.x, owner.y - 16, "owner-label", `router that owns room:${clip(room, 20)}`));
    this.box.replaceChildren(below, this.dots, above);
    const edges = this.branches.map(({ id, people: on }) => `${id || "an edge"} with ${on.map(({ name }) => name).join(", ")}`);
    this.box.setAttribute("aria-label", `The mesh: ${edges.join("; ")}`);
  }

  /** pulse runs a dot from a person to the owner, and from there to everybody. */
  pulse(from: Person): void {
    const now = performance.now();
    if (this.still.matches || document.hidden || now - this.pulsedAt < pulseEvery) return;
    this.pulsedAt = now;
    const source = this.branches.find(({ people }) => people.some(({ id }) => id === from.id));
    if (!source) return;
    this.run(`p:${from.id}`, from.hue, 0, false);
    this.run(`e:${source.id}`, from.hue, hop, false);
    for (const branch of this.branches) {
      this.run(`e:${branch.id}`, from.hue, 2 * hop, true);
      for (const person of branch.people) this.run(`p:${person.id}`, from.hue, 3 * hop, true);
    }
  }

  private drawBranch(branch: Branch, me: string, below: Element, above: Element): void {
    below.append(this.thread(`e:${branch.id}`, owner.x, owner.y, branch.x, edgeY, null));
    const own = branch.people.some(({ id }) => id === me);
    above.append(node(branch.x, edgeY, 7, own ? "edge own" : "edge", branch.id));
    above.append(text(branch.x, edgeY - 13, "edge-label", clip(branch.id || "edge", this.branches.length > 2 ? 11 : 20)));
    const room = Math.min(34, width / this.branches.length / Math.max(1, branch.people.length));
    branch.people.forEach((person, index) => {
      const x = branch.x + (index - (branch.people.length - 1) / 2) * room;
      below.append(this.thread(`p:${person.id}`, branch.x, edgeY, x, personY, person.hue));
      const dot = node(x, personY, person.id === me ? 8 : 6, person.id === me ? "person own" : "person", person.name);
      hue(dot, person.hue);
      above.append(dot);
      if (person.id === me) above.append(text(x, personY + 22, "me-label", "you"));
    });
  }

  private thread(key: string, x1: number, y1: number, x2: number, y2: number, colour: number | null): SVGPathElement {
    const middle = (y1 + y2) / 2;
    const path = svg("path", { d: `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`, class: colour === null ? "thread" : "thread person" });
    if (colour !== null) hue(path, colour);
    this.threads.set(key, path);
    return path;
  }

  private run(key: string, colour: number, delay: number, outward: boolean): void {
    const dot = svg("circle", { r: 4, class: "dot", visibility: "hidden" });
    hue(dot, colour);
    this.dots.append(dot);
    const begin = performance.now() + delay;
    const step = (now: number) => {
      const path = this.threads.get(key);
      const share = (now - begin) / hop;
      if (!path || share >= 1) return dot.remove();
      if (share >= 0) {
        const point = path.getPointAtLength(path.getTotalLength() * (outward ? share : 1 - share));
        dot.setAttribute("cx", String(point.x));
        dot.setAttribute("cy", String(point.y));
        dot.setAttribute("visibility", "visible");
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}

function branchesOf(people: Person[]): Branch[] {
  const byEdge = new Map<string, Person[]>();
  for (const person of people.slice(0, maxPeople)) {
    const known = byEdge.get(person.edge);
    if (known) known.push(person);
    else if (byEdge.size < maxEdges) byEdge.set(person.edge, [person]);
  }
  const ids = [...byEdge.keys()].sort();
  const gap = width / ids.length;
  return ids.map((id, index) => ({ id, x: gap * (index + 0.5), people: byEdge.get(id) ?? [] }));
}

function node(x: number, y: number, r: number, kind: string, title: string): SVGCircleElement {
  return svg("circle", { cx: x, cy: y, r, class: kind }, title !== "" && svg("title", {}, title));
}

function text(x: number, y: number, kind: string, content: string): SVGTextElement {
  return svg("text", { x, y, class: kind, "text-anchor": "middle" }, content);
}
