import { RuntimeInfo } from "../runtime.ts";
import { RUNTIME_EXAMPLE } from "./examples.ts";
import type { Operation, Parameter } from "./operation.ts";
import { Health, PublishedMessage, QueueBody, Ready } from "./responses.ts";

const JSON_TYPE = "application/json";

const QUEUE: Parameter = {
  name: "queue",
  in: "path",
  description: "The queue's name",
  schema: { type: "string", minLength: 1, maxLength: 200 },
  example: "function-queue",
};

export const PLATFORM_OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/api/v1/queues/{queue}/messages",
    id: "publishMessage",
    tag: "Queues",
    summary: "Publish a message",
    description: "The body, of any type, is the message. Answered once the message is durable.",
    parameters: [QUEUE],
    body: { required: false, type: "*/*", schema: {}, example: { order: 17 } },
    answers: {
      202: {
        description: "Kept",
        content: { type: JSON_TYPE, schema: PublishedMessage, example: { messageId: "5f0c5f7e-6f53-4f5e-8b0e-6a4d8f9b2c11" } },
      },
    },
    errors: ["QUEUE_NOT_FOUND", "BODY_TOO_LARGE", "STORE_UNAVAILABLE"],
  },
  {
    method: "get",
    path: "/api/v1/queues/{queue}",
    id: "getQueue",
    tag: "Queues",
    summary: "Get how full a queue is",
    parameters: [QUEUE],
    answers: {
      200: {
        description: "Its messages",
        content: { type: JSON_TYPE, schema: QueueBody, example: { queue: "function-queue", ready: 3, unacked: 1, dead: 0 } },
      },
    },
    errors: ["QUEUE_NOT_FOUND", "STORE_UNAVAILABLE"],
  },
  {
    method: "get",
    path: "/api/v1/runtimes",
    id: "listRuntimes",
    tag: "Platform",
    summary: "List runtimes",
    description: "The documented runtimes and newer ones, and the version that stands behind each name on this machine.",
    answers: {
      200: { description: "The runtimes", content: { type: JSON_TYPE, schema: RuntimeInfo.array(), example: [RUNTIME_EXAMPLE] } },
    },
  },
  ...health("/health", "getHealth"),
  ...health("/api/v1/health", "getHealthV1"),
  ...readiness("/ready", "getReadiness"),
  ...readiness("/api/v1/ready", "getReadinessV1"),
  {
    method: "get",
    path: "/metrics",
    id: "getMetrics",
    tag: "Platform",
    summary: "Metrics for Prometheus",
    answers: {
      200: {
        description: "Prometheus text",
        content: {
          type: "text/plain",
          schema: { type: "string" },
          example: 'kube_serverless_invocations_total{function="my-function"} 1523\n',
        },
      },
    },
  },
  {
    method: "get",
    path: "/openapi.json",
    id: "getOpenApi",
    isOpen: true,
    tag: "Platform",
    summary: "This document",
    answers: {
      200: { description: "OpenAPI 3.1", content: { type: JSON_TYPE, schema: { type: "object" }, example: { openapi: "3.1.0" } } },
    },
  },
];

function health(path: string, id: string): Operation[] {
  const content = { type: JSON_TYPE, schema: Health, example: { status: "healthy" } };
  return [
    {
      method: "get",
      path,
      id,
      isOpen: true,
      // What probes add, such as a time against caches, must not make a server look ill.
      ignoresQuery: true,
      tag: "Platform",
      summary: nameProbe("Health check", path),
      answers: { 200: { description: "The process answers", content } },
    },
  ];
}

function readiness(path: string, id: string): Operation[] {
  const content = { type: JSON_TYPE, schema: Ready, example: { status: "ready" } };
  return [
    {
      method: "get",
      path,
      id,
      isOpen: true,
      // What probes add, such as a time against caches, must not make a server look ill.
      ignoresQuery: true,
      tag: "Platform",
      summary: nameProbe("Readiness check", path),
      description:
        "503 only before the state is loaded and while the server drains. `degraded` names what is away or weaker than it should be.",
      answers: { 200: { description: "Ready to serve", content } },
      errors: ["DRAINING", "NO_CAPACITY"],
    },
  ];
}

function nameProbe(summary: string, path: string): string {
  return path.startsWith("/api/v1") ? `${summary} under /api/v1` : summary;
}
