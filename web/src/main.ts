// The demo page: wires the connection, the room and the views together.

import "./style.css";
import { Connection, type Edge, type State } from "./connection";
import { el, hue, must } from "./dom";
import { clip, initials, me, rename, type Person } from "./identity";
import { maxMessage, Room, type Message } from "./room";
import { recall, remember } from "./scrollback";
import { theme } from "./theme";
import { MeshMap } from "./view/map";
import { duration, Messages } from "./view/messages";
import { showPeople } from "./view/people";
import { Trips } from "./view/trips";
import { WireView } from "./view/wire";
import { Wire } from "./wire";

const suggested = ["lobby", "loom", "attic"];
const probes = 100;
const probeEvery = 10; // milliseconds

class Page {
  private person = me();
  private room: Room | null = null;
  private people: Person[] = [this.person];
  private readonly own = new Map<string, Message>();
  private readonly wireView = new WireView();
  private readonly trips = new Trips();
  private readonly map = new MeshMap();
  private readonly messages = new Messages(must("#messages"), must("#typing"), () => this.person, {
    react: (message, emoji) => this.room?.react(message, emoji),
    retry: (message) => this.room?.resay(message),
  });
  private readonly wire = new Wire((frame) => {
    this.wireView.add(frame);
    if (frame.kind === "heartbeat" && frame.after !== null) must("#latency").textContent = duration(frame.after);
  });
  private readonly connection = new Connection(this.wire, {
    state: (state) => this.showState(state),
    edge: (edge) => this.showEdge(edge),
  });

  start(): void {
    this.wireControls();
    this.showPerson();
    this.enter();
    this.connection.start();
    addEventListener("hashchange", () => this.enter());
  }

  private enter(): void {
    const name = roomOf(location.hash);
    if (this.room?.name === name) return;
    this.room?.leave();
    document.title = `#${name} · Skein`;
    must("#room-name").textContent = name;
    this.showRooms(name);
    this.people = [this.person];
    this.own.clear();
    this.messages.reset(recall(name));
    this.showMesh(name);
    this.room = new Room(this.connection.socket, name, this.person, {
      joined: (problem) => this.showJoined(problem),
      message: (message) => this.add(name, message),
      delivery: (id, delivery, milliseconds) => {
        const message = this.own.get(id);
        if (message) this.messages.delivery(message, delivery, milliseconds);
      },
      typing: (person) => this.messages.typing(person),
      reaction: (message, emoji, person) => this.messages.react(message, emoji, person),
      people: (people) => {
        this.people = people;
        this.showMesh(name);
      },
      crossed: (person) => this.map.pulse(person),
      trip: (milliseconds) => this.trips.add(milliseconds),
    });
    this.room.join();
  }

  private add(room: string, message: Message): void {
    if (this.messages.has(message.id)) return;
    if (message.from.id === this.person.id) this.own.set(message.id, message);
    this.messages.add(message);
    remember(room, message);
  }

  private wireControls(): void {
    theme(must("#theme"));
    const input = must<HTMLTextAreaElement>("#text");
    input.maxLength = maxMessage;
    const send = () => {
      const text = input.value.trim();
      if (text === "") return;
      this.room?.say(text);
      input.value = "";
      input.focus();
    };
    must("#composer").addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    input.addEventListener("input", () => this.room?.typing());
    must<HTMLInputElement>("#name").addEventListener("change", (event) => this.rename(event.target as HTMLInputElement));
    must("#rooms-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = must<HTMLInputElement>("#room-input");
      if (field.value.trim() !== "") location.hash = encodeURIComponent(field.value.trim().replace(/^#/, ""));
      field.value = "";
    });
    for (const button of document.querySelectorAll(".open-tab")) {
      button.addEventListener("click", () => open(location.href, "_blank", "noopener"));
    }
    must("#probe").addEventListener("click", () => this.probe());
    for (const tab of document.querySelectorAll<HTMLButtonElement>("#views button")) {
      tab.addEventListener("click", () => show(tab));
    }
    // Before phoenix.js closes the socket, so the goodbye still leaves.
    addEventListener("pagehide", () => this.room?.goodbye(), { capture: true });
  }

  private probe(): void {
    const button = must<HTMLButtonElement>("#probe");
    let left = probes;
    button.disabled = true;
    const timer = setInterval(() => {
      this.room?.probe();
      if (--left > 0) return;
      clearInterval(timer);
      button.disabled = false;
    }, probeEvery);
  }

  private rename(field: HTMLInputElement): void {
    this.become(rename(this.person, field.value));
  }

  private become(person: Person): void {
    this.person = person;
    this.showPerson();
    this.room?.introduce(person);
  }

  private showPerson(): void {
    must<HTMLInputElement>("#name").value = this.person.name;
    const badge = must<HTMLElement>("#badge");
    badge.textContent = initials(this.person.name);
    hue(must<HTMLElement>("#composer"), this.person.hue);
  }

  private showMesh(room: string): void {
    showPeople(must("#people"), must("#people-count"), this.people);
    this.map.show(room, this.people);
  }

  private showRooms(current: string): void {
    const names = suggested.includes(current) ? suggested : [...suggested, current];
    must("#rooms").replaceChildren(...names.map((name) =>
      el("li", {}, el("a", { href: `#${encodeURIComponent(name)}`, "aria-current": name === current && "page" }, name))));
  }

  private showState(state: State): void {
    must<HTMLElement>("#status").dataset.state = state;
    must("#state").textContent = { connecting: "connecting", open: "connected", lost: "reconnecting" }[state];
    if (state !== "open") must("#latency").textContent = "";
  }

  private showEdge({ edge, version }: Edge): void {
    must("#edge").textContent = edge || "unnamed edge";
    must("#version").textContent = version;
    if (edge !== this.person.edge) this.become({ ...this.person, edge });
  }

  private showJoined(problem: string | null): void {
    const notice = must<HTMLElement>("#notice");
    notice.hidden = problem === null;
    notice.textContent = problem === null ? "" : `Not in the room right now: ${problem}. Coming back by itself.`;
  }
}

function roomOf(hash: string): string {
  let name = hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Not percent-encoded text; taken as it stands.
  }
  return clip(name.trim(), 64) || "lobby";
}

function show(tab: HTMLButtonElement): void {
  document.body.dataset.view = tab.dataset.view;
  for (const other of document.querySelectorAll("#views button")) {
    other.setAttribute("aria-pressed", String(other === tab));
  }
}

new Page().start();
