import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

/** A response as its bytes say it. */
export interface RawResponse {
  version: string;
  status: number;
  /** Lower-case names. */
  headers: Record<string, string>;
  body: string;
}

const DEFAULT_LIMIT_MS = 20_000;

/** A connection on which the test writes whatever bytes it likes. */
export class RawConnection {
  readonly #socket: net.Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #error: Error | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => (this.#received = Buffer.concat([this.#received, chunk])));
    socket.on("error", (error) => (this.#error = error));
    for (const event of ["close", "end", "error"]) socket.on(event, () => (this.#ended = true));
  }

  static async open(url: string): Promise<RawConnection> {
    const { protocol, hostname, port } = new URL(url);
    const isTls = protocol === "https:";
    const target = { host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port || (isTls ? 443 : 80)) };
    const socket = isTls ? tls.connect({ ...target, servername: target.host }) : net.connect(target);
    await once(socket, isTls ? "secureConnect" : "connect");
    return new RawConnection(socket);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Why the connection ended, where it did not end by a FIN. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Bytes that came and belong to no response that was read. */
  get unread(): string {
    return this.#received.toString("latin1");
  }

  /** Strings are Latin-1, so that each character is a byte. */
  write(data: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(typeof data === "string" ? Buffer.from(data, "latin1") : data);
  }

  /** The next response, 1xx ones included. @throws when the connection ends before, or in vain after the limit */
  async read(options: { method?: string; limitMs?: number } = {}): Promise<RawResponse> {
    await this.#until(() => takeResponse(this.#received, options.method ?? "GET", this.#ended) !== undefined, options.limitMs);
    const taken = takeResponse(this.#received, options.method ?? "GET", this.#ended);
    if (taken === undefined) throw new Error(`no response; received ${JSON.stringify(this.unread)}, ended: ${this.#ended}`);
    this.#received = this.#received.subarray(taken.bytes);
    return taken.response;
  }

  /** True once the other side has closed; false after the limit. */
  async closes(limitMs = DEFAULT_LIMIT_MS): Promise<boolean> {
    await this.#until(() => this.#ended, limitMs);
    return this.#ended;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #until(condition: () => boolean, limitMs = DEFAULT_LIMIT_MS): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (!condition() && !this.#ended && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** One response from the front of what came, and how many bytes it took. */
function takeResponse(data: Buffer, method: string, isAll: boolean): { response: RawResponse; bytes: number } | undefined {
  const headEnd = data.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = data.subarray(0, headEnd).toString("latin1").split("\r\n");
  const [version = "", status = ""] = statusLine.split(" ");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const start = headEnd + 4;
  const body = takeBody(data.subarray(start), Number(status), headers, method, isAll);
  if (body === undefined) return undefined;
  return { response: { version, status: Number(status), headers, body: body.text }, bytes: start + body.bytes };
}

function takeBody(
  data: Buffer,
  status: number,
  headers: Record<string, string>,
  method: string,
  isAll: boolean,
): { text: string; bytes: number } | undefined {
  if (status < 200 || status === 204 || status === 304 || method === "HEAD") return { text: "", bytes: 0 };
  if (headers["transfer-encoding"] === "chunked") return takeChunks(data);
  if (headers["content-length"] === undefined) return isAll ? { text: data.toString("utf8"), bytes: data.length } : undefined;
  const length = Number(headers["content-length"]);
  return data.length < length ? undefined : { text: data.subarray(0, length).toString("utf8"), bytes: length };
}

function takeChunks(data: Buffer): { text: string; bytes: number } | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = data.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(data.subarray(at, lineEnd).toString("latin1"), 16);
    const next = lineEnd + 2 + size + 2;
    if (data.length < next) return undefined;
    if (size === 0) return { text: Buffer.concat(chunks).toString("utf8"), bytes: next };
    chunks.push(data.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
}
