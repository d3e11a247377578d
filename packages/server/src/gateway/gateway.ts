import type { IncomingMessage, ServerResponse } from "node:http";
import { KsError, RESERVED_SEGMENTS, splitPath, type TriggerInfo } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { BodyBudget } from "../http/body-budget.ts";
import { type Body, hasNoBody, readBody } from "../http/read-body.ts";
import type { RequestGuard } from "../http/request-guard.ts";
import { sendError, toKsError } from "../http/send-error.ts";
import { parseTarget, type Target } from "../http/target.ts";
import type { WholeAnswers } from "../http/whole-answers.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { CallHead } from "../instances/port.ts";
import type { CallTracer } from "../telemetry/call-tracer.ts";
import { Call, type CallReceiver } from "../dispatch/call.ts";
import type { Forwarding } from "./forwarding.ts";
import { InvokeReply, TriggerReply } from "./reply.ts";
import { createRequestId } from "./request-id.ts";
import { parseQuery, readRequestHead, readRequestId, type RequestHead } from "./request-head.ts";

/** Bodies of invocations and triggers. */
export const MAX_CALL_BODY_BYTES = 6 * 1024 * 1024;

/** A request as the gateway has read it. */
interface Inbound {
  req: IncomingMessage;
  res: ServerResponse;
  head: RequestHead;
  target: Target;
  requestId: string;
  arrivedAtMs: number;
}

/** What a request asks of a function. */
interface Invocation {
  entry: FunctionEntry;
  method: string;
  path: string;
  params: Record<string, string> | undefined;
  trigger: TriggerInfo;
  receiver: CallReceiver;
}

/** Everything that isn't a call. */
export interface ControlHandler {
  handle(req: IncomingMessage, res: ServerResponse, context: { requestId: string; path: string; query: string; origin: string }): void;
}

export interface GatewayOptions {
  clock: Clock;
  guard: RequestGuard;
  registry: FunctionRegistry;
  control: ControlHandler;
  forwarding: Forwarding;
  bodies: BodyBudget;
  answers: WholeAnswers;
  /** Undefined: calls are not traced, and the caller's `traceparent` is passed on as it is. */
  tracer: CallTracer | undefined;
  onRequestError(error: KsError, requestId: string): void;
}

const PLATFORM_SEGMENTS: ReadonlySet<string> = new Set(RESERVED_SEGMENTS.filter((segment) => segment !== "fn"));
/** Answered while starting and draining, too. */
const PROBES: ReadonlySet<string> = new Set(["/health", "/ready", "/api/v1/health", "/api/v1/ready"]);

/** The way of a request: who is asked for, may this come here, which function, its dispatcher, the reply. */
export class Gateway {
  readonly #options: GatewayOptions;
  /** What all but probes are told while the server starts or drains. */
  #closed: KsError | undefined = new KsError("NO_CAPACITY", { message: "The server is starting", retryAfterMs: 1000 });

  constructor(options: GatewayOptions) {
    this.#options = options;
  }

  /** The functions are loaded: calls are let in. */
  open(): void {
    this.#closed = undefined;
  }

  /** From now on new calls are answered 503 `DRAINING`. */
  drain(): void {
    this.#closed = new KsError("DRAINING", { retryAfterMs: 1000 });
    this.#options.answers.drain();
  }

  /** hot */
  handle(req: IncomingMessage, res: ServerResponse): void {
    let requestId: string | undefined;
    try {
      requestId = readRequestId(req.headers["x-request-id"] as string | undefined) ?? createRequestId();
      const head = readRequestHead(req);
      const target = parseTarget(req.url ?? "/");
      const inbound: Inbound = { req, res, head, target, requestId, arrivedAtMs: this.#options.clock.monotonicMs() };
      this.#route(inbound);
    } catch (error) {
      this.#fail(req, res, error, requestId ?? createRequestId());
    }
  }

  #route(inbound: Inbound): void {
    const { guard } = this.#options;
    const { head, target, req } = inbound;
    // HTTP/1.0 may have no Host: it asks for the platform.
    const host = guard.classifyHost(target.authority ?? head.host ?? "localhost");
    guard.checkOrigin(head.headers["origin"], head.headers["sec-fetch-site"]);
    if (req.headers.expect !== undefined && req.headers.expect.toLowerCase() !== "100-continue") throw new KsError("EXPECTATION_FAILED");
    if (this.#closed !== undefined && !PROBES.has(target.path)) throw this.#closed;
    if (target.path === "*") throw new KsError("ROUTE_NOT_FOUND");
    if (host.kind === "function") return this.#routeHost(inbound, host.name);
    const split = splitPath(target.path);
    if ("problem" in split) throw new KsError("BAD_REQUEST", { message: `Bad request: the path ${split.problem}` });
    this.#routePath(inbound, split.segments);
  }

  #routeHost(inbound: Inbound, name: string): void {
    const split = splitPath(inbound.target.path);
    if ("problem" in split) throw new KsError("BAD_REQUEST", { message: `Bad request: the path ${split.problem}` });
    const entry = this.#options.registry.require(name);
    this.#invokeTrigger(inbound, entry, inbound.target.path, undefined);
  }

  #routePath(inbound: Inbound, segments: readonly string[]): void {
    const [first, second] = segments;
    if (first === "api") return this.#routeApi(inbound, segments);
    if (first === "fn") {
      if (second === undefined || second === "") throw new KsError("ROUTE_NOT_FOUND");
      return this.#invokeTrigger(inbound, this.#options.registry.require(second), rawPathBehind(inbound.target.path, 2), undefined);
    }
    if (first !== undefined && PLATFORM_SEGMENTS.has(first)) return this.#control(inbound);
    this.#routeTrigger(inbound, segments);
  }

  #routeApi(inbound: Inbound, segments: readonly string[]): void {
    const isInvoke = segments.length === 5 && segments[1] === "v1" && segments[2] === "functions" && segments[4] === "invoke";
    if (!isInvoke) return this.#control(inbound);
    const entry = this.#options.registry.require(segments[3]!);
    if (inbound.req.method !== "POST") throw new KsError("METHOD_NOT_ALLOWED", { headers: { Allow: "POST" } });
    const receiver = new InvokeReply(inbound.req, inbound.res, this.#options.answers);
    this.#invoke(inbound, { entry, method: "POST", path: "/invoke", params: undefined, trigger: { type: "invoke" }, receiver });
  }

  #routeTrigger(inbound: Inbound, segments: readonly string[]): void {
    const { registry } = this.#options;
    const found = registry.routes.find(segments, inbound.req.method ?? "GET");
    if (found.kind === "method") throw new KsError("METHOD_NOT_ALLOWED", { headers: { Allow: found.allow.join(", ") } });
    if (found.kind === "none") {
      if (segments.length === 0) return this.#control(inbound);
      throw new KsError("ROUTE_NOT_FOUND", { message: `Not found: no function has a trigger for ${inbound.target.path}` });
    }
    const entry = registry.byUid(found.match.route.uid);
    if (entry === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    this.#invokeTrigger(inbound, entry, inbound.target.path, found.match.params);
  }

  #invokeTrigger(inbound: Inbound, entry: FunctionEntry, path: string, params: Record<string, string> | undefined): void {
    const receiver = new TriggerReply(inbound.req, inbound.res, this.#options.answers);
    this.#invoke(inbound, { entry, method: inbound.req.method ?? "GET", path, params, trigger: { type: "http" }, receiver });
  }

  /** hot */
  #invoke(inbound: Inbound, invocation: Invocation): void {
    const { req } = inbound;
    const { entry } = invocation;
    if (hasNoBody(req)) return this.#submit(inbound, invocation, { chunks: [], bytes: 0 }, inbound.arrivedAtMs);
    const announced = Number(req.headers["content-length"] ?? 0);
    // The function wakes while its body is still coming.
    if (announced <= MAX_CALL_BODY_BYTES) entry.entrance().warm();
    readBody(req, MAX_CALL_BODY_BYTES, this.#options.bodies.hold(inbound.res))
      // The wait for a place begins when the call is whole: a slow upload takes nothing from it.
      .then((body) => this.#submit(inbound, invocation, body, this.#options.clock.monotonicMs()))
      .catch((error: unknown) => this.#fail(req, inbound.res, error, inbound.requestId));
  }

  /** hot */
  #submit(inbound: Inbound, invocation: Invocation, body: Body, wholeAtMs: number): void {
    const { req, res, head, target, requestId } = inbound;
    const { entry } = invocation;
    const entrance = entry.entrance();
    this.#options.forwarding.apply(req, head);
    const trace = this.#options.tracer?.begin(head.headers["traceparent"]);
    if (trace !== undefined) head.headers["traceparent"] = trace.traceparent;
    const callHead: CallHead = {
      id: requestId,
      method: invocation.method,
      path: invocation.path,
      query: parseQuery(target.query),
      headers: head.headers,
      trigger: invocation.trigger,
      timeoutMs: entry.timeoutMs,
    };
    if (invocation.params !== undefined) callHead.params = invocation.params;
    const traceparent = head.headers["traceparent"];
    if (traceparent !== undefined) callHead.traceparent = traceparent;
    const call = new Call(entrance, callHead, body.chunks, body.bytes, invocation.receiver, wholeAtMs);
    call.trace = trace;
    res.on("close", () => {
      if (!res.writableFinished) call.abandon();
    });
    entrance.submit(call);
  }

  #control({ req, res, head, requestId, target }: Inbound): void {
    const origin = this.#options.forwarding.originOf(req, head, target.authority);
    this.#options.control.handle(req, res, { requestId, path: target.path, query: target.query, origin });
  }

  #fail(req: IncomingMessage, res: ServerResponse, error: unknown, requestId: string): void {
    const known = toKsError(error);
    this.#options.onRequestError(known, requestId);
    sendError(req, res, known, requestId);
  }
}

/** `/fn/name/deep` → `/deep`, `/fn/name` → `/`: raw, as it was sent. */
function rawPathBehind(path: string, segments: number): string {
  let at = 0;
  for (let count = 0; count < segments; count++) {
    at = path.indexOf("/", at + 1);
    if (at < 0) return "/";
  }
  return path.slice(at);
}
