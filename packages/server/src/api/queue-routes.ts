import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { checkQueueName, KsError } from "@kube-serverless/contracts";
import type { FastifyInstance } from "fastify";
import { failpoint } from "../failpoint.ts";
import { allow } from "./authorization.ts";
import type { ApiDependencies } from "./dependencies.ts";
import { MAX_MESSAGE_BYTES, readWholeBody } from "./request-body.ts";

export const MESSAGES_PATH = "/api/v1/queues/:queue/messages";

interface QueueParams {
  Params: { queue: string };
}

/** Publishing to a queue, and how many messages are in it. */
export function addQueueRoutes(app: FastifyInstance, { queues, bodies }: Pick<ApiDependencies, "queues" | "bodies">): void {
  app.get<QueueParams>("/api/v1/queues/:queue", allow("get", "queues"), async (request) => {
    const { queue } = request.params;
    const stats = isQueueName(queue) ? await queues.stats(queue) : undefined;
    if (stats === undefined) throw queueNotFound();
    const { ready, unacked, dead } = stats;
    return { queue, ready, unacked, dead };
  });

  app.post<QueueParams>(MESSAGES_PATH, allow("create", "queues/messages"), async (request, reply) => {
    const { queue } = request.params;
    if (!isQueueName(queue)) throw queueNotFound();
    const body = await readWholeBody(request.raw, MAX_MESSAGE_BYTES, bodies.hold(reply.raw));
    const messageId = randomUUID();
    const contentType = request.headers["content-type"];
    const headers = request.access.withoutCredentials(pickMessageHeaders(request.headers));
    await queues.publish(queue, { messageId, body, headers, ...(contentType === undefined ? {} : { contentType }) });
    failpoint("queue.after-publish");
    void reply.code(202);
    return { messageId };
  });
}

function isQueueName(queue: string): boolean {
  return checkQueueName(queue) === undefined;
}

function queueNotFound(): KsError {
  return new KsError("QUEUE_NOT_FOUND");
}

/** Of the request's headers those that speak of the message: the trace, its encoding and what users add as `X-…`. */
function pickMessageHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") continue;
    const isOwn = name.startsWith("x-") && !name.startsWith("x-forwarded-") && name !== "x-request-id";
    if (isOwn || name === "traceparent" || name === "tracestate" || name === "content-encoding") picked[name] = value;
  }
  return picked;
}
