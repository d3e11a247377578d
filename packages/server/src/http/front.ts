import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Duplex } from "node:stream";
import { type AddressInfo, Server as NetServer } from "node:net";
import { buildErrorBody, type ErrorCode, ERRORS, KsError } from "@kube-serverless/contracts";
import { awaitsContinue } from "./read-body.ts";
import { createRequestId, readRequestId } from "./request-id.ts";

const MAX_HEAD_BYTES = 32 * 1024;
const HEAD_TIMEOUT_MS = 10_000;
/** A caller whose request was refused below HTTP may take so long to read why. */
const REFUSED_LINGER_MS = 1000;

/** When it is looked again whether a caller that sends no more has gone: once for near ones, once for far ones. */
const PROBE_DELAYS_MS = [50, 1000];

export interface FrontOptions {
  hosts: readonly string[];
  /** 0 takes a free one. */
  port: number;
  keepAliveTimeoutMs: number;
  tls: { cert: Buffer; key: Buffer } | undefined;
  handle(req: IncomingMessage, res: ServerResponse): void;
}

/** What each connection's last request is answered by. */
const responses = new WeakMap<Duplex, ServerResponse>();

/** The front of the house on bare node:http: listens, parses, bounds heads and time, and answers what is no HTTP in JSON. */
export class Front {
  readonly #options: FrontOptions;
  readonly #servers: Server[] = [];
  #closed: Promise<unknown> = Promise.resolve();

  constructor(options: FrontOptions) {
    this.#options = options;
  }

  /** Resolves with the addresses it listens on. @throws the error of the first address that cannot be had */
  async start(): Promise<{ host: string; port: number }[]> {
    const addresses: { host: string; port: number }[] = [];
    let { port } = this.#options;
    for (const host of this.#options.hosts) {
      const server = this.#createServer();
      try {
        await listen(server, host, port);
      } catch (error) {
        // A machine without IPv6 has no ::1; the other addresses are enough then.
        const isMissing = ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes((error as NodeJS.ErrnoException).code ?? "");
        if (isMissing && addresses.length > 0) continue;
        throw explainListenError(error as NodeJS.ErrnoException, host, port);
      }
      this.#servers.push(server);
      port = (server.address() as AddressInfo).port;
      addresses.push({ host, port });
    }
    return addresses;
  }

  /** Closes the listeners at once; open connections go on until `close`, so that calls on them are answered. */
  stopListening(): void {
    // That of node:http would cut idle connections, and the call that is on its way on one of them.
    const close = (server: Server): Promise<unknown> => new Promise((resolve) => NetServer.prototype.close.call(server, resolve));
    this.#closed = Promise.all(this.#servers.map(close));
    // An answer that still comes ends its connection.
    for (const server of this.#servers) server.keepAliveTimeout = 1;
  }

  /** Lets answers that are under way leave, for `graceMs` at the most, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    for (const server of this.#servers) server.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const server of this.#servers) server.closeAllConnections();
    }, graceMs);
    await this.#closed;
    clearTimeout(timer);
  }

  #createServer(): Server {
    const { tls, handle, keepAliveTimeoutMs } = this.#options;
    const options = {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: HEAD_TIMEOUT_MS,
      // Bodies are bounded by their progress instead: see read-body.ts.
      requestTimeout: 0,
      keepAliveTimeout: keepAliveTimeoutMs,
      connectionsCheckingInterval: 1000,
      // Checked by us, as Node.js answers with an empty body.
      requireHostHeader: false,
      noDelay: true,
    };
    const server = tls === undefined ? createServer(options) : createTlsServer({ ...options, ...tls });
    // The size of the head is bounded, so its headers need not be counted; Node.js would refuse more than 1000 as too large.
    server.maxHeadersCount = 0;
    // Who sends no more may still read: the answer goes out, and then the connection ends.
    (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    server.on(tls === undefined ? "connection" : "secureConnection", (socket: Duplex) => socket.once("end", () => probeCaller(socket)));
    server.on("request", (req: IncomingMessage, res: ServerResponse) => {
      responses.set(req.socket, res);
      handle(req, res);
    });
    server.on("checkContinue", (req: IncomingMessage, res: ServerResponse) => {
      awaitsContinue.set(req, () => res.writeContinue());
      handle(req, res);
    });
    server.on("checkExpectation", handle);
    server.on("connect", (req: IncomingMessage, socket: Duplex) => {
      const requestId = readRequestId(req.headers["x-request-id"] as string | undefined) ?? createRequestId();
      const error = new KsError("METHOD_NOT_ALLOWED", { message: "Method not allowed: CONNECT" });
      refuse(socket, error, requestId, { Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" });
    });
    server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => answerClientError(error, socket));
    return server;
  }
}

/**
 * A caller that has ended its side reads on, or has gone altogether: TCP tells only when something is sent. Every client of
 * HTTP/1.1 passes over a 100. Where nobody is left a reset answers the first one, and the next one finds the connection broken.
 */
function probeCaller(socket: Duplex): void {
  const res = responses.get(socket);
  if (res === undefined || res.req.httpVersionMinor === 0) return;
  const probe = (): void => {
    if (!res.headersSent && !res.writableEnded && !res.destroyed) res.writeContinue();
  };
  probe();
  const timers = PROBE_DELAYS_MS.map((delayMs) => setTimeout(probe, delayMs));
  res.once("close", () => timers.forEach((timer) => clearTimeout(timer)));
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: host.includes(":") }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** What to do instead, where that is known, in one line. */
function explainListenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const message = {
    EADDRINUSE: `Port ${port} of ${host} is in use by another program: stop it, or choose another port with --port`,
    EACCES: `Port ${port} of ${host} needs rights that this user lacks: choose one above 1023 with --port`,
    EADDRNOTAVAIL: `This machine has no address ${host}: choose another with --host`,
  }[error.code ?? ""];
  return message === undefined ? error : new KsError("INTERNAL", { message, cause: error });
}

/** What the parser refused: malformed, too slow, or too large a head. */
function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: ErrorCode =
    error.code === "ERR_HTTP_REQUEST_TIMEOUT"
      ? "REQUEST_TIMEOUT"
      : error.code === "HPE_HEADER_OVERFLOW"
        ? "HEADERS_TOO_LARGE"
        : "BAD_REQUEST";
  refuse(socket, new KsError(code, { message: describeClientError(code, error) }), createRequestId(), {});
}

function describeClientError(code: ErrorCode, error: NodeJS.ErrnoException & { reason?: string }): string {
  if (code === "BAD_REQUEST") return `Bad request: ${error.reason ?? "malformed HTTP"}`;
  if (code === "HEADERS_TOO_LARGE") return `Request headers too large: the limit is ${MAX_HEAD_BYTES} bytes`;
  return ERRORS[code].message;
}

function refuse(socket: Duplex, error: KsError, requestId: string, headers: Record<string, string>): void {
  // Node.js has let go of the socket: a reset would otherwise end the server, and one that nobody closes stay for ever.
  socket.on("error", () => socket.destroy());
  const linger = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
  const body = JSON.stringify(buildErrorBody(error, requestId));
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${error.status} ${REASONS[error.status] ?? "Error"}\r\n${lines.join("")}Content-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nX-Request-Id: ${requestId}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
}

const REASONS: Record<number, string> = {
  400: "Bad Request",
  405: "Method Not Allowed",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};
