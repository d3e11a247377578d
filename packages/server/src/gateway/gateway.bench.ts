import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { type Duplex, duplexPair } from "node:stream";
import { systemClock } from "../clock.ts";
import type { Call } from "../dispatch/call.ts";
import { BodyBudget } from "../http/body-budget.ts";
import { RequestGuard } from "../http/request-guard.ts";
import { WholeAnswers } from "../http/whole-answers.ts";
import { ANONYMOUS } from "../security/authentication/authentication.ts";
import { Forwarding } from "./forwarding.ts";
import { Gateway, type GatewayOptions } from "./gateway.ts";

// Microseconds of one call between two streams, the least of many rounds: without sockets and other processes that figure repeats
// within 2 % on a busy machine, too. node --min-semi-space-size=16 packages/server/src/gateway/gateway.bench.ts

const CONNECTIONS = 8;
const WARM_UP_CALLS = 60_000;
const ROUNDS = 400;
const CALLS_A_ROUND = 200;
const BODY = '{"key":"value","data":[1,2,3]}';
const RESPONSE = Buffer.from(`{"echo":${BODY},"msg":"hello"}`);
const REQUEST = Buffer.from(
  "POST /api/v1/functions/hello/invoke HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n" +
    `Content-Length: ${BODY.length}\r\n\r\n${BODY}`,
);

async function bench(name: string, handle: RequestListener): Promise<void> {
  const server = createServer({ requestTimeout: 0 }, handle);
  const clients = Array.from({ length: CONNECTIONS }, () => connect((socket) => server.emit("connection", socket)));
  let left = 0;
  let finish = (): void => undefined;
  for (const client of clients) {
    client.on("data", () => {
      left--;
      if (left === 0) finish();
      else if (left >= CONNECTIONS) client.write(REQUEST);
    });
  }
  const run = (calls: number): Promise<void> =>
    new Promise((resolve) => {
      finish = resolve;
      left = calls;
      for (const client of clients) client.write(REQUEST);
    });
  await run(WARM_UP_CALLS);
  let bestMicros = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    await run(CALLS_A_ROUND);
    bestMicros = Math.min(bestMicros, ((performance.now() - startMs) * 1000) / CALLS_A_ROUND);
  }
  console.log(`${name}: ${bestMicros.toFixed(2)} µs`);
}

/** The near end of a connection whose far end looks like a socket to a server. */
function connect(accept: (socket: Duplex) => void): Duplex {
  const [near, far] = duplexPair();
  const nothing = (): Duplex => far;
  accept(Object.assign(far, { remoteAddress: "127.0.0.1", setTimeout: nothing, setNoDelay: nothing, setKeepAlive: nothing }));
  return near;
}

/** What the benchmark compares everything with: node:http, and JSON parsed and written. */
function answerBare(req: IncomingMessage, res: ServerResponse): void {
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => {
    const body = JSON.stringify({ statusCode: 200, body: { echo: JSON.parse(Buffer.concat(chunks).toString()) as unknown, msg: "hello" } });
    res.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(body) });
    res.end(body);
  });
}

/** The gateway over a function that answers at once. */
function buildGateway(): Gateway {
  const entrance = {
    warm: () => undefined,
    noteHead: () => undefined,
    callEnded: () => undefined,
    submit: (call: Call) => call.onHead({ status: 200, kind: "json", headers: [], durationMs: 0.0213 }, RESPONSE, false),
  };
  const entry = { entrance: () => entrance, timeoutMs: 30_000, stored: { uid: "u", spec: { name: "hello" } } };
  const gateway = new Gateway({
    clock: systemClock,
    guard: new RequestGuard({ allowedHosts: [], allowedOrigins: [], enforced: true }),
    registry: { byName: () => entry },
    control: { handle: () => undefined },
    admission: { identify: () => ANONYMOUS, admit: () => undefined, callerOf: () => undefined },
    forwarding: new Forwarding([], "http"),
    bodies: new BodyBudget(1024 * 1024),
    answers: new WholeAnswers(5000),
    tracer: undefined,
    onRequestError: (error: Error) => {
      throw error;
    },
  } as unknown as GatewayOptions);
  gateway.open();
  return gateway;
}

await bench("bare node:http with the handler", answerBare);
const gateway = buildGateway();
await bench("gateway, without replica", (req, res) => gateway.handle(req, res));
process.exit(0);
