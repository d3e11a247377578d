import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { buildOpenApiDocument } from "@kube-serverless/contracts";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { PROMETHEUS_CONTENT_TYPE } from "../metrics/prometheus-text.ts";
import { allow, OPEN } from "./authorization.ts";
import type { ApiDependencies, Readiness } from "./dependencies.ts";
import { buildDocsPage, DOCS_HEADERS } from "./docs-page.ts";

/** The platform itself: health, readiness, runtimes, its metrics and its documents. */
export function addPlatformRoutes(
  app: FastifyInstance,
  dependencies: ApiDependencies,
  originOf: (request: IncomingMessage) => string,
): void {
  for (const prefix of ["", "/api/v1"]) {
    app.get(`${prefix}/health`, OPEN, async () => ({ status: "healthy" }));
    app.get(`${prefix}/ready`, OPEN, async (request, reply) => answerReadiness(await dependencies.readiness(), request, reply));
  }

  app.get("/api/v1/runtimes", allow("list", "runtimes"), async () => dependencies.runtimes());

  app.get("/metrics", allow("get", "metrics"), async (_request, reply) => {
    return reply.type(PROMETHEUS_CONTENT_TYPE).send(Readable.from(await dependencies.scrape()));
  });

  // Built when somebody asks first: it would be a good part of a start.
  let openApi: object | undefined;
  const document = (): object => (openApi ??= buildOpenApiDocument());
  app.get("/openapi.json", OPEN, async (_request, reply) => reply.type("application/json; charset=utf-8").send(JSON.stringify(document())));
  app.get("/docs", OPEN, async (request, reply) => reply.headers(DOCS_HEADERS).send(buildDocsPage(document(), originOf(request.raw))));
  app.get("/", OPEN, async (_request, reply) => reply.redirect("/docs", 302));
}

/** 503 carries the fields of every error, too. */
function answerReadiness({ state, degraded, facts }: Readiness, request: FastifyRequest, reply: FastifyReply): object {
  const isTold = request.access.may("get", "readiness");
  const body = { status: state, ...(isTold && degraded.length > 0 ? { degraded } : {}), ...(isTold ? facts : {}) };
  if (state === "ready") return body;
  void reply.code(503).header("Retry-After", "1");
  const error = state === "draining" ? "The server is shutting down" : "The server is starting";
  return { ...body, error, code: state === "draining" ? "DRAINING" : "NO_CAPACITY", requestId: request.id };
}
