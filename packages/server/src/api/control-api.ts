import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { KsError, splitPath } from "@kube-serverless/contracts";
import { type FastifyInstance, fastify } from "fastify";
import { createRequestId } from "../http/request-id.ts";
import { sendError, toKsError } from "../http/send-error.ts";
import { type Credentials, NO_CREDENTIALS } from "../security/authentication/credentials.ts";
import { addAuthorization } from "./authorization.ts";
import type { ApiDependencies } from "./dependencies.ts";
import { EventStreams } from "./event-streams.ts";
import { addFunctionRoutes } from "./function-routes.ts";
import { addKeyRoutes } from "./key-routes.ts";
import { badPath, explainMiss } from "./not-found.ts";
import { addObserveRoutes } from "./observe-routes.ts";
import { addPlatformRoutes } from "./platform-routes.ts";
import { addQueryCheck } from "./query-parameters.ts";
import { addQueueRoutes, MESSAGES_PATH } from "./queue-routes.ts";
import { checkJsonHead } from "./request-body.ts";

/** What the front knows of a request already. */
export interface RequestContext {
  requestId: string;
  /** Raw, without the query. */
  path: string;
  /** Raw, without the question mark. */
  query: string;
  /** Scheme, host and port that the caller used. */
  origin: string;
  credentials: Credentials;
}

export interface ControlApi {
  /** Answers one request; it never throws. */
  handle(request: IncomingMessage, response: ServerResponse, context: RequestContext): void;
  /** Ends the open streams, which would outlast any drain. */
  endStreams(): void;
  close(): Promise<void>;
}

/** All control routes behind one handler; listening, limits of time and checks of Host and Origin are the front's. */
export async function createControlApi(dependencies: ApiDependencies): Promise<ControlApi> {
  const contexts = new WeakMap<IncomingMessage, RequestContext>();
  const streams = new EventStreams(dependencies.clock);
  dependencies.access.whenKeysChange(() => streams.endForbidden());
  let listener: RequestListener | undefined;
  const app = fastify({
    // Bodies are checked by the contracts; fastify's own compilers are slow to load.
    schemaController: { compilersFactory: { buildValidator: refuseSchema, buildSerializer: refuseSchema } },
    // The front listens; this server never does.
    serverFactory: (handler) => createServer((listener = handler)),
    genReqId: (request) => contexts.get(request)?.requestId ?? createRequestId(),
    rewriteUrl: (request) => buildUrl(contexts.get(request), request.url ?? "/"),
    routerOptions: {
      // As long as a head may be: an unknown name is 404 however long it is.
      maxParamLength: 32_768,
      querystringParser: (text) => new URLSearchParams(text) as never,
    },
  });
  setBehaviour(app, dependencies, collectMethods(app));
  const { access: control, clientAddress, takersOf } = dependencies;
  const credentialsOf = (request: IncomingMessage): Credentials => contexts.get(request)?.credentials ?? NO_CREDENTIALS;
  addAuthorization(app, { control, credentialsOf, clientAddress, takersOf });
  addQueryCheck(app);
  app.addHook("onRequest", async ({ raw, routeOptions }) => {
    if (routeOptions.url !== MESSAGES_PATH) checkJsonHead(raw);
  });
  addFunctionRoutes(app, dependencies);
  addObserveRoutes(app, dependencies, streams);
  addQueueRoutes(app, dependencies);
  addKeyRoutes(app, dependencies);
  addPlatformRoutes(app, dependencies, (request) => contexts.get(request)?.origin ?? "");
  await app.ready();
  return {
    handle(request, response, context) {
      const split = splitPath(context.path);
      if ("problem" in split) return sendError(request, response, badPath(split.problem), context.requestId);
      contexts.set(request, context);
      listener?.(request, response);
    },
    endStreams: () => streams.endAll(),
    close: () => app.close(),
  };
}

function refuseSchema(): never {
  throw new Error("A route has a schema of fastify's; the contracts check what comes in");
}

function buildUrl(context: RequestContext | undefined, url: string): string {
  if (context === undefined) return url;
  return context.query === "" ? context.path : `${context.path}?${context.query}`;
}

/** Filled while routes are added; an invocation is the gateway's, but its path is known here, too. */
function collectMethods(app: FastifyInstance): Map<string, Set<string>> {
  const methodsByPath = new Map([["/api/v1/functions/:name/invoke", new Set(["POST"])]]);
  app.addHook("onRoute", ({ url, method }) => {
    const methods = methodsByPath.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    methodsByPath.set(url, methods);
  });
  return methodsByPath;
}

function setBehaviour(app: FastifyInstance, dependencies: ApiDependencies, methodsByPath: ReadonlyMap<string, Set<string>>): void {
  // Bodies are read by the handlers, from the request itself.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.addHook("onRequest", async (request, reply) => {
    void reply.header("X-Request-Id", request.id).header("Cache-Control", "no-store").header("X-Content-Type-Options", "nosniff");
    const path = pathOf(request.url);
    const hasEmptyParameter = Object.values((request.params ?? {}) as Record<string, string>).includes("");
    if (request.is404 || hasEmptyParameter) throw explainMiss(request.method, path, methodsByPath);
  });
  app.setErrorHandler((error, request, reply) => {
    const told = isFastifyRefusal(error)
      ? new KsError(error.statusCode === 415 ? "UNSUPPORTED_MEDIA_TYPE" : "BAD_REQUEST")
      : toKsError(error);
    if (told.code === "INTERNAL") dependencies.onInternalError(told.cause instanceof Error ? told.cause : told, request.id);
    reply.hijack();
    sendError(request.raw, reply.raw, told, request.id);
  });
}

/** What fastify itself refuses, such as a Content-Type that is none. */
function isFastifyRefusal(error: unknown): error is { statusCode: number } {
  const statusCode = (error as { statusCode?: unknown }).statusCode;
  return !(error instanceof KsError) && typeof statusCode === "number" && statusCode < 500;
}

function pathOf(url: string): string {
  const mark = url.indexOf("?");
  return mark < 0 ? url : url.slice(0, mark);
}
