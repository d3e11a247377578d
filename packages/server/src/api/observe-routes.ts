import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { allow } from "./authorization.ts";
import type { ApiDependencies } from "./dependencies.ts";
import type { EventStream, EventStreams } from "./event-streams.ts";
import type { NameParams } from "./function-routes.ts";
import { parseLimit } from "./list-page.ts";
import { parseLogQuery, wantsFollow } from "./log-query.ts";

const DEFAULT_CRON_RUNS = 100;

/** What a function did: its metrics, its log, its scaling, its runs by the clock. */
export function addObserveRoutes(app: FastifyInstance, dependencies: ApiDependencies, streams: EventStreams): void {
  const { functions, logs, clock } = dependencies;
  app.get<NameParams>("/api/v1/functions/:name/metrics", allow("get", "functions/metrics"), async (request) => {
    return dependencies.readMetrics((await functions.get(request.params.name)).stored);
  });

  app.get<NameParams>("/api/v1/functions/:name/scaling", allow("get", "functions/scaling"), async (request) => {
    return dependencies.readScaling((await functions.get(request.params.name)).stored);
  });

  app.get<NameParams>("/api/v1/functions/:name/cron", allow("get", "functions/cron"), async (request) => {
    const limit = parseLimit((request.query as URLSearchParams).get("limit")) ?? DEFAULT_CRON_RUNS;
    return dependencies.readCron((await functions.get(request.params.name)).stored, limit);
  });

  app.get<NameParams>("/api/v1/functions/:name/logs", allow("get", "functions/logs"), async (request, reply) => {
    const { uid } = (await functions.get(request.params.name)).stored;
    const query = parseLogQuery(request.query as URLSearchParams, clock.nowMs());
    if (!wantsFollow(request.query as URLSearchParams)) return logs.query(uid, query);
    if (request.method === "HEAD") return reply.type("text/event-stream; charset=utf-8").send("");
    return follow(request, reply, request.params.name, (stream) =>
      logs.follow(uid, query, { onEntry: (entry) => stream.send(entry), onEnd: () => stream.end() }),
    );
  });

  function follow(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    start: (stream: EventStream) => { stop(): void },
  ): FastifyReply {
    reply.hijack();
    const stream = streams.open(reply.raw, {
      requestId: request.id,
      isStillAllowed: () => request.access.mayStill("get", "functions/logs", name),
      onClose: () => following.stop(),
    });
    const following = start(stream);
    return reply;
  }
}
