import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type Caller,
  type HttpTrigger,
  KsError,
  RESERVED_SEGMENTS,
  splitPath,
  type TriggerInfo,
  type WebhookSignature,
} from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { BodyBudget } from "../http/body-budget.ts";
import { type Body, hasNoBody, receiveBody } from "../http/read-body.ts";
import type { RequestGuard } from "../http/request-guard.ts";
import { createRequestId, readRequestId } from "../http/request-id.ts";
import { sendError, toKsError } from "../http/send-error.ts";
import { parseTarget, type Target } from "../http/target.ts";
import type { WholeAnswers } from "../http/whole-answers.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { CallHead } from "../instances/port.ts";
import type { CallTracer } from "../telemetry/call-tracer.ts";
import { type Admission, Call, type CallReceiver } from "../dispatch/call.ts";
import type { Route } from "../functions/route-table.ts";
import type { Authentication } from "../security/authentication/authentication.ts";
import type { Credentials } from "../security/authentication/credentials.ts";
import { passCredentials } from "../security/authentication/authentication.ts";
import { checkWebhook, compileWebhookCheck } from "../security/webhooks/verify-signature.ts";
import type { AskedFunction, CallAdmission } from "./call-admission.ts";
import type { Forwarding } from "./forwarding.ts";
import { InvokeReply, TriggerReply } from "./reply.ts";
import { parseQuery, readRequestHead, type RequestHead } from "./request-head.ts";

/** Bodies of invocations and triggers. */
export const MAX_CALL_BODY_BYTES = 6 * 1024 * 1024;

/** A request as the gateway has read it. */
interface Inbound {
  req: IncomingMessage;
  res: ServerResponse;
  head: RequestHead;
  target: Target;
  requestId: string;
}

/** What a request asks of a function. */
interface Invocation extends AskedFunction {
  /** How the sender of a webhook has to prove itself. */
  signature: WebhookSignature | undefined;
  method: string;
  path: string;
  params: Record<string, string> | undefined;
  trigger: TriggerInfo;
  receiver: CallReceiver;
}

/** A function's own address, or the path of one of its triggers. */
interface TriggerDoor {
  path: string;
  params: Record<string, string> | undefined;
  config: HttpTrigger["config"] | undefined;
  notFound(): KsError;
}

/** A call that may be made. */
interface Admitted {
  invocation: Invocation;
  admission: Admission | undefined;
  caller: Caller | undefined;
}

/** Everything that isn't a call. */
export interface ControlHandler {
  handle(
    req: IncomingMessage,
    res: ServerResponse,
    context: { requestId: string; path: string; query: string; origin: string; credentials: Credentials },
  ): void;
}

export interface GatewayOptions {
  clock: Clock;
  guard: RequestGuard;
  registry: FunctionRegistry;
  /** Where functions come from elsewhere: looks there for one that is not in memory. */
  findMissing?(name: string): Promise<FunctionEntry | undefined>;
  control: ControlHandler;
  admission: CallAdmission;
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
      const inbound: Inbound = { req, res, head, target, requestId };
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
    this.#invokeByName(inbound, name, inbound.target.path);
  }

  #routePath(inbound: Inbound, segments: readonly string[]): void {
    const [first, second] = segments;
    if (first === "api") return this.#routeApi(inbound, segments);
    if (first === "fn") {
      if (second === undefined || second === "") throw new KsError("ROUTE_NOT_FOUND");
      return this.#invokeByName(inbound, second, rawPathBehind(inbound.target.path, 2));
    }
    if (first !== undefined && PLATFORM_SEGMENTS.has(first)) return this.#control(inbound);
    this.#routeTrigger(inbound, segments);
  }

  #routeApi(inbound: Inbound, segments: readonly string[]): void {
    const isInvoke = segments.length === 5 && segments[1] === "v1" && segments[2] === "functions" && segments[4] === "invoke";
    if (!isInvoke) return this.#control(inbound);
    // Before it is known whether the function is there: nobody learns it by a wrong method.
    if (inbound.req.method !== "POST") throw new KsError("METHOD_NOT_ALLOWED", { headers: { Allow: "POST" } });
    this.#withFunction(inbound, segments[3]!, (entry) => this.#invokeByApi(inbound, entry));
  }

  #invokeByApi(inbound: Inbound, entry: FunctionEntry): void {
    const receiver = new InvokeReply(inbound.req, inbound.res, this.#options.answers);
    this.#invoke(inbound, {
      entry,
      auth: undefined,
      notFound: functionNotFound,
      signature: undefined,
      method: "POST",
      path: "/invoke",
      params: undefined,
      trigger: { type: "invoke" },
      receiver,
    });
  }

  #routeTrigger(inbound: Inbound, segments: readonly string[]): void {
    const { registry } = this.#options;
    const found = registry.routes.find(segments, inbound.req.method ?? "GET");
    if (found.kind === "none" && segments.length === 0) return this.#control(inbound);
    if (found.kind !== "match") return this.#miss(inbound, routeNotFound(inbound), found.kind === "method" ? found : undefined);
    const { route, params } = found.match;
    const entry = registry.byUid(route.uid);
    if (entry === undefined) return this.#miss(inbound, routeNotFound(inbound));
    this.#invokeTrigger(inbound, entry, {
      path: inbound.target.path,
      params,
      config: route.config,
      notFound: () => routeNotFound(inbound),
    });
  }

  #invokeByName(inbound: Inbound, name: string, path: string): void {
    this.#withFunction(inbound, name, (entry) =>
      this.#invokeTrigger(inbound, entry, { path, params: undefined, config: undefined, notFound: functionNotFound }),
    );
  }

  /** hot: at once for a function in memory. */
  #withFunction(inbound: Inbound, name: string, go: (entry: FunctionEntry) => void): void {
    const { registry, findMissing } = this.#options;
    const known = registry.byName(name);
    if (known !== undefined) return go(known);
    if (findMissing === undefined) return this.#miss(inbound, functionNotFound());
    findMissing(name)
      .then((found) => (found === undefined ? this.#miss(inbound, functionNotFound()) : go(found)))
      .catch((error: unknown) => this.#fail(inbound.req, inbound.res, error, inbound.requestId));
  }

  #invokeTrigger(inbound: Inbound, entry: FunctionEntry, { path, params, config, notFound }: TriggerDoor): void {
    const { spec } = entry.stored.served ?? entry.stored;
    this.#invoke(inbound, {
      entry,
      auth: config?.auth ?? spec.auth,
      notFound,
      signature: config?.signature,
      method: inbound.req.method ?? "GET",
      path,
      params,
      trigger: { type: "http" },
      receiver: new TriggerReply(inbound.req, inbound.res, this.#options.answers),
    });
  }

  /** Nothing is there, or nothing for this method: callers who may not know the difference get one answer for both. */
  #miss(inbound: Inbound, error: KsError, others?: { allow: readonly string[]; routes: readonly Route[] }): void {
    const { admission, registry } = this.#options;
    this.#whenKnown(inbound, admission.identify(inbound.head.credentials), (authentication) => {
      const mayKnow = others?.routes.some(({ uid, config }) => {
        const entry = registry.byUid(uid);
        return entry !== undefined && admission.mayKnow({ entry, auth: config.auth ?? entry.stored.spec.auth }, authentication);
      });
      if (mayKnow === true) throw new KsError("METHOD_NOT_ALLOWED", { headers: { Allow: others!.allow.join(", ") } });
      throw admission.explainMiss(error, authentication);
    });
  }

  /** hot */
  #invoke(inbound: Inbound, invocation: Invocation): void {
    const known = this.#options.admission.identify(inbound.head.credentials);
    if (!(known instanceof Promise)) return this.#admit(inbound, invocation, known);
    this.#whenKnown(inbound, known, (authentication) => this.#admit(inbound, invocation, authentication));
  }

  /** Goes on when it is known who calls. */
  #whenKnown(inbound: Inbound, known: Authentication | Promise<Authentication>, goOn: (authentication: Authentication) => void): void {
    if (!(known instanceof Promise)) return goOn(known);
    known.then(goOn).catch((error: unknown) => this.#fail(inbound.req, inbound.res, error, inbound.requestId));
  }

  /** hot */
  #admit(inbound: Inbound, invocation: Invocation, authentication: Authentication): void {
    const { admission, forwarding, bodies, clock } = this.#options;
    const { req, res, head, requestId } = inbound;
    const admitted = admission.admit(invocation, authentication, () => forwarding.clientAddress(req), requestId);
    const caller = admission.callerOf(authentication, invocation.entry);
    passCredentials(head.headers, head.credentials, authentication);
    const known: Admitted = { invocation, admission: admitted, caller };
    const announced = Number(req.headers["content-length"] ?? 0);
    // The function wakes while its body is still coming, unless that has to prove its sender first.
    if (!hasNoBody(req) && announced <= MAX_CALL_BODY_BYTES && invocation.signature === undefined) invocation.entry.entrance().warm();
    const refuse = (error: unknown): void => {
      admitted?.leave();
      this.#fail(req, res, error, requestId);
    };
    const submit = (body: Body): void => {
      try {
        // The wait for a place begins when the call is whole: a slow upload takes nothing from it.
        this.#submit(inbound, known, body, clock.monotonicMs());
      } catch (error) {
        refuse(error);
      }
    };
    receiveBody(req, MAX_CALL_BODY_BYTES, bodies.hold(res), submit, refuse);
  }

  /** hot */
  #submit(inbound: Inbound, { invocation, admission, caller }: Admitted, body: Body, wholeAtMs: number): void {
    const { req, res, head, target, requestId } = inbound;
    const { entry, signature } = invocation;
    if (signature !== undefined) this.#checkSignature(signature, entry, head, body);
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
    if (caller !== undefined) callHead.caller = caller;
    const traceparent = head.headers["traceparent"];
    if (traceparent !== undefined) callHead.traceparent = traceparent;
    const call = new Call(entrance, callHead, body.chunks, body.bytes, invocation.receiver, wholeAtMs);
    call.trace = trace;
    call.admission = admission;
    res.on("close", () => {
      if (!res.writableFinished) call.abandon();
    });
    entrance.submit(call);
  }

  /** @throws KsError `UNAUTHENTICATED` */
  #checkSignature(signature: WebhookSignature, entry: FunctionEntry, head: RequestHead, body: Body): void {
    const { environment } = (entry.stored.served ?? entry.stored).spec;
    checkWebhook(compileWebhookCheck(signature, environment), head.headers, body.chunks, this.#options.clock.nowMs());
  }

  #control({ req, res, head, requestId, target }: Inbound): void {
    const origin = this.#options.forwarding.originOf(req, head, target.authority);
    this.#options.control.handle(req, res, { requestId, path: target.path, query: target.query, origin, credentials: head.credentials });
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

function functionNotFound(): KsError {
  return new KsError("FUNCTION_NOT_FOUND");
}

function routeNotFound({ target }: Inbound): KsError {
  return new KsError("ROUTE_NOT_FOUND", { message: `Not found: no function has a trigger for ${target.path}` });
}
