// Who this tab is. Every tab is a person of its own, and stays that person
// over a reload.

/** Person is somebody in a room, as they describe themselves. */
export interface Person {
  id: string;
  name: string;
  hue: number;
  edge: string;
}

const adjectives = [
  "Amber", "Brisk", "Calm", "Dapper", "Eager", "Fabled", "Gentle", "Hazel", "Indigo", "Jolly", "Keen", "Lucky",
  "Mellow", "Nimble", "Opal", "Plucky", "Quiet", "Rustic", "Silver", "Tidy", "Umber", "Vivid", "Wry", "Zesty",
];
const animals = [
  "Otter", "Heron", "Lynx", "Marten", "Finch", "Badger", "Goose", "Hare", "Ibex", "Jay", "Kite", "Lark",
  "Mole", "Newt", "Owl", "Puffin", "Quail", "Raven", "Stoat", "Tern", "Vole", "Wren", "Yak", "Zander",
];
const hues = [8, 32, 58, 96, 146, 176, 202, 226, 256, 286, 318, 342];

const key = "skein.me";
const maxName = 32;
const maxId = 64;

/** me restores this tab's person, or invents one. */
export function me(): Person {
  const stored = parsePerson(read());
  if (stored) return { ...stored, edge: "" };
  return save({ id: newId(), name: `${pick(adjectives)} ${pick(animals)}`, hue: pick(hues), edge: "" });
}

/** rename returns the person under another name, which the tab remembers. */
export function rename(person: Person, name: string): Person {
  const trimmed = clip(name.trim(), maxName);
  return trimmed === "" ? person : save({ ...person, name: trimmed });
}

/** newId is an id that nobody else has. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/**
 * parsePerson accepts a person that came over the wire. Anybody may send
 * anything to a room, so nothing about it is taken on trust.
 */
export function parsePerson(value: unknown): Person | null {
  if (typeof value !== "object" || value === null) return null;
  const { id, name, hue, edge } = value as Record<string, unknown>;
  if (typeof id !== "string" || id === "" || id.length > maxId) return null;
  if (typeof name !== "string" || name.trim() === "") return null;
  const angle = typeof hue === "number" && Number.isFinite(hue) ? ((Math.round(hue) % 360) + 360) % 360 : 0;
  return { id, name: clip(name.trim(), maxName), hue: angle, edge: typeof edge === "string" ? clip(edge, maxId) : "" };
}

/** initials are the letters in a person's badge. */
export function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => Array.from(word ?? "")[0] ?? "").join("").toUpperCase();
}

/** clip shortens a text to a number of characters, never in the middle of one. */
export function clip(text: string, length: number): string {
  const characters = Array.from(text);
  return characters.length <= length ? text : characters.slice(0, length).join("");
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T;
}

function read(): unknown {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

function save(person: Person): Person {
  try {
    sessionStorage.setItem(key, JSON.stringify(person));
  } catch {
    // A browser that refuses storage gets a new name on every reload.
  }
  return person;
}
