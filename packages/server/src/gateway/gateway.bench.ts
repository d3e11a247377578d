import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { type Duplex, duplexPair } from "node:stream";
import { CreateApiKey } from "@kube-serverless/contracts";
import { systemClock } from "../clock.ts";
import type { CallEntrance } from "../dispatch/call.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { BodyBudget } from "../http/body-budget.ts";
import { RequestGuard } from "../http/request-guard.ts";
import { WholeAnswers } from "../http/whole-answers.ts";
import { FrameReplica } from "../instances/frame-replica.ts";
import type { ReplicaProvider, RevisionRef } from "../instances/port.ts";
import { FunctionCounters } from "../metrics/function-counters.ts";
import { FrameWriter } from "../protocol/frame-writer.ts";
import { FrameDecoder, FrameType } from "../protocol/frames.ts";
import { DEFAULT_SCALING_POLICY } from "../scaling/decide.ts";
import { AccessControl } from "../security/access-control.ts";
import { ANONYMOUS } from "../security/authentication/authentication.ts";
import { Authenticator } from "../security/authentication/authenticator.ts";
import { ApiKeys } from "../security/keys/api-keys.ts";
import { MemoryKeyStore } from "../security/keys/memory-key-store.ts";
import { CallLimits } from "../security/limits/call-limits.ts";
import { TaskGroup } from "../task-group.ts";
import { CallAdmission } from "./call-admission.ts";
import { Forwarding } from "./forwarding.ts";
import { Gateway, type GatewayOptions } from "./gateway.ts";

// Microseconds of one call between two streams, the least of many rounds: without sockets and other processes that figure repeats
// within 2 % on a busy machine, too. node --min-semi-space-size=16 packages/server/src/gateway/gateway.bench.ts

const CONNECTIONS = 8;
const WARM_UP_CALLS = 60_000;
const ROUNDS = 400;
const CALLS_A_ROUND = 200;
/** Never reached. */
const HIGH = { rateLimit: { requestsPerSecond: 1_000_000, burst: 10_000_000 }, maxConcurrency: 100_000 };
const BODY = '{"key":"value","data":[1,2,3]}';
const RESPONSE = Buffer.from(`{"echo":${BODY},"msg":"hello"}`);
const REQUEST = Buffer.from(
  "POST /api/v1/functions/hello/invoke HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n" +
    `Content-Length: ${BODY.length}\r\n\r\n${BODY}`,
);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function bench(name: string, handle: RequestListener, request: Buffer = REQUEST): Promise<void> {
  const server = createServer({ requestTimeout: 0 }, handle);
  const clients = Array.from({ length: CONNECTIONS }, () => connect((socket) => server.emit("connection", socket)));
  let left = 0;
  let finish = (): void => undefined;
  for (const client of clients) {
    client.on("data", () => {
      left--;
      if (left === 0) finish();
      else if (left >= CONNECTIONS) client.write(request);
    });
  }
  const run = (calls: number): Promise<void> =>
    new Promise((resolve) => {
      finish = resolve;
      left = calls;
      for (const client of clients) client.write(request);
    });
  await run(WARM_UP_CALLS);
  let bestMicros = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    await run(CALLS_A_ROUND);
    const tookMs = performance.now() - startMs;
    // What was put off to the end of a turn would pile up otherwise: between two streams no turn ends by itself.
    await turn();
    bestMicros = Math.min(bestMicros, (tookMs * 1000) / CALLS_A_ROUND);
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

/** A function that answers at once. */
const INSTANT: CallEntrance = {
  warm: () => undefined,
  noteHead: () => undefined,
  callEnded: () => undefined,
  callReturned: () => undefined,
  abandon: () => undefined,
  submit: (call) => call.onHead({ status: 200, kind: "json", headers: [], durationMs: 0.0213 }, RESPONSE, false),
};

/** A function with its dispatcher, its counters, and a replica that answers by frames. */
function buildDispatcher(): CallEntrance {
  const spec = { name: "hello", concurrency: 80, timeout: 30, environment: {}, minReplicas: 0, maxReplicas: 1 };
  const revision = { uid: "u", name: "hello", revision: 1, spec } as unknown as RevisionRef;
  const counters = new FunctionCounters(() => undefined);
  const dispatcher = new Dispatcher(spec, {
    clock: systemClock,
    provider: { startReplica: () => startReplica(revision) } as unknown as ReplicaProvider,
    queueLimits: { maxCalls: 1000, maxBytes: 1024 * 1024 },
    queueTimeoutMs: 10_000,
    policy: DEFAULT_SCALING_POLICY,
    onCallEnded: (call, error) => counters.record(call.durationMs, 256, error?.code, systemClock.nowMs()),
  });
  dispatcher.serve({ revision, code: () => "" }, []);
  return dispatcher;
}

function startReplica(revision: RevisionRef): FrameReplica {
  const replica = new FrameReplica({
    id: "r",
    revision,
    clock: systemClock,
    loadTimeoutMs: 10_000,
    onPrinted: () => undefined,
    onAbandoned: () => undefined,
  });
  const [near, far] = duplexPair();
  const writer = new FrameWriter(far);
  const decoder = new FrameDecoder((stream, kind) => {
    if (kind === FrameType.CALL) writer.send(stream, 200, false, '{"kind":"json","durationMs":0.0213}', RESPONSE);
    else if (kind === FrameType.SPECIALISE) writer.send(0, FrameType.READY, false, "", undefined);
  });
  far.on("data", (chunk: Buffer) => decoder.push(chunk));
  const specialisation = { code: Buffer.alloc(0), module: undefined, concurrency: 80, runtimeVersion: "24", fromPool: true, startMs: 0 };
  replica.specialise({ socket: near, kill: () => undefined }, specialisation);
  return replica;
}

const OPEN = { identify: () => ANONYMOUS, admit: () => undefined, callerOf: () => undefined } as unknown as CallAdmission;

/** With a key of the role invoker, and limits of the function, the caller and all together; and the request that has the key. */
async function buildGuarded(): Promise<{ admission: CallAdmission; request: Buffer }> {
  const keys = new ApiKeys({ store: new MemoryKeyStore(), clock: systemClock, tasks: new TaskGroup(console) });
  const { key } = await keys.create(CreateApiKey.parse({ name: "bench", role: "invoker", functions: ["he*"] }));
  const authenticator = new Authenticator({ clock: systemClock, keys });
  const admission = new CallAdmission({
    clock: systemClock,
    access: new AccessControl({ authenticator, audit: { add: () => undefined } }),
    limits: new CallLimits({ caller: HIGH, global: HIGH }),
    checkBudget: () => undefined,
    onRefused: () => undefined,
  });
  return { admission, request: Buffer.from(REQUEST.toString().replace("\r\n\r\n", `\r\nAuthorization: Bearer ${key}\r\n\r\n`)) };
}

function buildGateway(entrance: CallEntrance, admission = OPEN): Gateway {
  const entry = { entrance: () => entrance, timeoutMs: 30_000, stored: { uid: "u", spec: { name: "hello", ...HIGH } } };
  const gateway = new Gateway({
    clock: systemClock,
    guard: new RequestGuard({
      allowedHosts: [],
      allowedOrigins: [],
      enforced: true,
      functionHosts: { namespace: "kube-serverless", domain: "cluster.local" },
    }),
    registry: { byName: () => entry },
    control: { handle: () => undefined },
    admission,
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
const instant = buildGateway(INSTANT);
await bench("gateway, without replica", (req, res) => instant.handle(req, res));
const whole = buildGateway(buildDispatcher());
await bench("gateway with dispatcher, counters and frames", (req, res) => whole.handle(req, res));
const { admission, request } = await buildGuarded();
const guarded = buildGateway(buildDispatcher(), admission);
await bench("the same with a key, its role and three limits", (req, res) => guarded.handle(req, res), request);
process.exit(0);
