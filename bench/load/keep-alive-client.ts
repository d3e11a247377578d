import { Agent, type IncomingHttpHeaders, request } from "node:http";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** From handing over the request until its last byte was there. */
  durationMs: number;
}

/** One connection that stays open, so that a measured call doesn't begin with dialling. */
export class KeepAliveClient {
  readonly #port: number;
  /** Sent with every request. */
  headers: Readonly<Record<string, string>> = {};
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(port: number) {
    this.#port = port;
  }

  send(method: string, path: string, body?: string | Buffer): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const content = body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const headers = { ...this.headers, ...content };
    const startMs = performance.now();
    const req = request({ host: "127.0.0.1", port: this.#port, method, path, headers, agent: this.#agent }, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("error", reject);
      res.on("end", () => {
        const durationMs = performance.now() - startMs;
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(chunks).toString("utf8"), durationMs });
      });
    });
    req.on("error", reject);
    req.end(body);
    return promise;
  }

  close(): void {
    this.#agent.destroy();
  }
}
