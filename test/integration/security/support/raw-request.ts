import { Agent, type OutgoingHttpHeaders, request } from "node:http";

/** A list is sent as so many header lines. */
export type RawHeaders = Readonly<Record<string, string | readonly string[]>>;

export interface RawRequest<Headers extends RawHeaders = Readonly<Record<string, string>>> {
  method: string;
  path: string;
  headers: Headers;
  body?: string | undefined;
}

export interface RawAnswer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
}

/** Sends requests as they are: any method, any Host, any path, which `fetch` would correct or refuse. */
export class RawClient {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(port: number) {
    this.#port = port;
  }

  send({ method, path, headers, body }: RawRequest<RawHeaders>): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
      const lines = { ...headers, ...length } as OutgoingHttpHeaders;
      const options = { host: "127.0.0.1", port: this.#port, agent: this.#agent, method, path, headers: lines };
      const sent = request(options, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.once("error", reject);
        answer.once("end", () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: Buffer.concat(chunks).toString() }),
        );
      });
      sent.setTimeout(30_000, () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
      sent.once("error", reject);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
