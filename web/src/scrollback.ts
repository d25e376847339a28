// What this tab has seen of a room, kept over a reload. The mesh itself keeps
// no history of these rooms.

import { parseMessage, type Message } from "./room";

const limit = 100;

/** recall returns the messages that this tab remembers of a room. */
export function recall(room: string): Message[] {
  try {
    const list: unknown = JSON.parse(sessionStorage.getItem(key(room)) ?? "[]");
    return Array.isArray(list) ? list.map(parseMessage).filter((message) => message !== null) : [];
  } catch {
    return [];
  }
}

/** remember keeps one more message of a room. */
export function remember(room: string, message: Message): void {
  try {
    sessionStorage.setItem(key(room), JSON.stringify([...recall(room), message].slice(-limit)));
  } catch {
    // Without storage a reload starts with an empty room.
  }
}

const key = (room: string): string => `skein.room.${room}`;
