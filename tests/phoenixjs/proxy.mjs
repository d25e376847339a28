// A reverse proxy for tests: it hands each request to the next of its targets,
// and passes WebSockets on only when told to.

import http from "node:http";
import net from "node:net";
import { once } from "node:events";

/** Proxy balances round-robin over targets, a function that returns host:port. */
export class Proxy {
  #targets;
  #next = 0;
  #server;
  #sockets = new Set();

  constructor(targets, { webSockets = false } = {}) {
    this.#targets = targets;
    this.#server = http.createServer((request, response) => this.#pass(request, response));
    this.#server.on("upgrade", (request, socket, head) => (webSockets ? this.#tunnel(request, socket, head) : socket.destroy()));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  async start() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.host = `127.0.0.1:${this.#server.address().port}`;
    this.socket = `ws://${this.host}/socket`;
    this.url = `http://${this.host}`;
    return this;
  }

  async stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await once(this.#server, "close");
  }

  #target() {
    const all = this.#targets();
    return all[this.#next++ % all.length];
  }

  #pass(request, response) {
    const [host, port] = this.#target().split(":");
    const { method, url, headers } = request;
    const onward = http.request({ host, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.writeHead(502).end());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  }

  #tunnel(request, socket, head) {
    const [host, port] = this.#target().split(":");
    const onward = net.connect(port, host, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      onward.write(`${lines.join("\r\n")}\r\n\r\n`);
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    for (const [end, other] of [[socket, onward], [onward, socket]]) end.on("error", () => other.destroy()).on("close", () => other.destroy());
  }
}
