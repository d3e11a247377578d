import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Where functions tell what they do, so that it is known however their server ends. */
export class Sink<Event> {
  readonly events: Event[] = [];
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        this.events.push(JSON.parse(Buffer.concat(chunks).toString()));
        response.end();
      });
    });
  }

  static async open<Event>(): Promise<Sink<Event>> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Sink(server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** For a Node.js function that may reach the host's loopback: `await tell(event)`. */
export const TELL = `
const http = require("node:http");
const tell = (event) => new Promise((resolve, reject) => {
  const request = http.request(process.env.SINK, { method: "POST" }, (response) => response.resume().on("end", resolve));
  request.on("error", reject).end(JSON.stringify(event));
});
`;
/** Flags of a server whose functions reach it. */
export const REACHES_SINK = ["--sandbox-network", "host"];
