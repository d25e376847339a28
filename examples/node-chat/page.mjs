// Serves a page that is a client of the chat: stock phoenix.js, nothing else.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const files = {
  "/": [new URL("page.html", import.meta.url), "text/html; charset=utf-8"],
  "/phoenix.mjs": [new URL("node_modules/phoenix/priv/static/phoenix.mjs", import.meta.url), "text/javascript"],
};

/** servePage serves the page at host:port; it connects to the socket's URL. */
export function servePage(address, socket) {
  const [host, port] = address.split(":");
  const server = createServer(async (request, response) => {
    const [file, type] = files[request.url] ?? [];
    if (!file) return response.writeHead(404).end();
    const text = await readFile(fileURLToPath(file), "utf8");
    response.writeHead(200, { "content-type": type }).end(text.replace("SOCKET", socket));
  });
  return server.listen(Number(port), host, () => console.error(`node-chat: open http://${address} in two tabs`));
}
