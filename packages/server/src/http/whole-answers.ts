import { IncomingMessage, ServerResponse, STATUS_CODES } from "node:http";
import { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { awaitsContinue } from "./read-body.ts";

/** Up to here one copy costs less than a second buffer in the write. */
const ONE_WRITE_BYTES = 16 * 1024;

/** The property behind `headersSent`. Frameworks have read it for a decade, but nothing documents it: it is tried before it is relied on. */
interface HeadedResponse extends ServerResponse {
  _header: string | null;
}

/** An answer that is there as a whole. */
export interface WholeAnswer {
  status: number;
  /** `[name, value, …]` without those that frame the message; names and values are known to be such as HTTP carries. */
  headers: readonly string[];
  /** Undefined where the status has none. */
  body: Buffer | undefined;
}

/**
 * Sends head and body in one write. `writeHead` checks every name and value with regular expressions, which takes five times what
 * the rest of an answer does; a head that is known to be good is built here instead, where this Node.js takes it.
 */
export class WholeAnswers {
  readonly #connectionLines: string;
  #buildsHeads: boolean;

  constructor(keepAliveTimeoutMs: number) {
    const timeoutLine = keepAliveTimeoutMs > 0 ? `Keep-Alive: timeout=${Math.floor(keepAliveTimeoutMs / 1000)}\r\n` : "";
    this.#connectionLines = `Connection: keep-alive\r\n${timeoutLine}`;
    this.#buildsHeads = takesBuiltHeads();
  }

  /** From now on Node.js tells each connection's caller how long it still is there. */
  drain(): void {
    this.#buildsHeads = false;
  }

  /** hot */
  send(res: ServerResponse, { status, headers, body }: WholeAnswer): void {
    if (body === undefined) {
      res.writeHead(status, headers as string[]);
      res.end();
      return;
    }
    if (this.#buildsHeads && res.shouldKeepAlive && !awaitsContinue.has(res.req)) {
      res.statusCode = status;
      (res as HeadedResponse)._header = this.#buildHead(status, headers, body.length);
    } else {
      res.writeHead(status, [...headers, "Content-Length", String(body.length)]);
    }
    // Node.js joins head and body into one write only when the body is a string; as Latin-1 any bytes survive that.
    if (body.length <= ONE_WRITE_BYTES) res.end(body.toString("latin1"), "latin1");
    else res.end(body);
  }

  #buildHead(status: number, headers: readonly string[], bytes: number): string {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "unknown"}\r\n`;
    for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    return `${head}Content-Length: ${bytes}\r\n${dateLine()}${this.#connectionLines}\r\n`;
  }
}

let datedSecond = 0;
let datedLine = "";

/** RFC 9110, 6.6.1; made once a second. */
function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== datedSecond) {
    datedSecond = second;
    datedLine = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return datedLine;
}

/** True when a head that was set is what leaves, and the body right behind it. */
export function takesBuiltHeads(): boolean {
  const sent = new PassThrough();
  const res = new ServerResponse(new IncomingMessage(new Socket())) as HeadedResponse;
  res.assignSocket(sent as unknown as Socket);
  res._header = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
  res.end("hi", "latin1");
  return res.headersSent && String(sent.read()) === "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
}
