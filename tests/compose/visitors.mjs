// Visitors of a fleet: stock phoenix.js clients, of each published version under
// test in turn, with one channel each. Orders come as lines of JSON on standard
// input, and what visitors see goes as lines of JSON to standard output. When the
// input ends everybody leaves.

import { createInterface } from "node:readline";
import { Client, versions } from "../phoenixjs/client.mjs";

const published = Object.values(versions);
const visitors = new Map();

const tell = (visitor, what, text = "") => process.stdout.write(`${JSON.stringify({ visitor, what, text })}\n`);

const orders = {
  // visit opens a socket and joins a topic.
  visit({ visitor, url, topic, params }) {
    const client = new Client(published[visitor % published.length], url);
    client.socket.onClose(({ code }) => tell(visitor, "closed", String(code)));
    const channel = client.socket.channel(topic, params);
    channel.on("said", ({ text }) => tell(visitor, "heard", text));
    channel.onError(() => tell(visitor, "lost"));
    channel.join()
      .receive("ok", () => tell(visitor, "joined"))
      .receive("error", (reason) => tell(visitor, "refused", JSON.stringify(reason)))
      .receive("timeout", () => tell(visitor, "refused", "timeout"));
    visitors.set(visitor, { client, channel });
  },

  // say pushes a text, and tells what became of it.
  say({ visitor, event, text }) {
    const push = visitors.get(visitor).channel.push(event, { text });
    push.receive("ok", () => tell(visitor, "accepted", text));
    for (const status of ["error", "timeout"]) push.receive(status, () => tell(visitor, "rejected", text));
  },

  // leave closes the socket for good.
  leave({ visitor }) {
    visitors.get(visitor).client.close();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  orders[order](rest);
}
process.exit(); // sockets end with it, and nothing waits for timers of channels
