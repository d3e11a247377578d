import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import { systemClock } from "../../clock.ts";
import { BodyBudget } from "../../http/body-budget.ts";
import { parseTarget } from "../../http/target.ts";
import { createFunctionLogs, type FunctionLogs } from "../../logs/function-logs.ts";
import { emptyMetrics } from "../../metrics/function-counters.ts";
import { AccessControl } from "../../security/access-control.ts";
import { NO_CREDENTIALS } from "../../security/authentication/credentials.ts";
import type { QueueMessage } from "../../queue/port.ts";
import { createControlApi } from "../control-api.ts";
import type { ApiDependencies, Readiness } from "../dependencies.ts";
import { MemoryFunctionService } from "./memory-service.ts";

/** The control API behind a real server on loopback, for one test. */
export interface ApiServer {
  url: string;
  port: number;
  functions: MemoryFunctionService;
  logs: FunctionLogs;
  published: QueueMessage[];
  internalErrors: Error[];
  readiness: Readiness;
  endStreams(): void;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Sends JSON and reads JSON. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<{ response: Response; body: any }>;
}

export async function openApiServer(t: TestContext, change: Partial<ApiDependencies> = {}): Promise<ApiServer> {
  const folder = await mkdtemp(join(tmpdir(), "ks-api-"));
  const functions = new MemoryFunctionService();
  const logs = createFunctionLogs({ folder, clock: systemClock });
  const opened = {
    functions,
    logs,
    published: [] as QueueMessage[],
    internalErrors: [] as Error[],
    readiness: { state: "ready", degraded: [] } as Readiness,
  };
  const api = await createControlApi({
    functions,
    logs,
    bodies: new BodyBudget(64 * 1024 * 1024),
    readMetrics: () => emptyMetrics({ inFlight: 0, replicas: 2 }),
    readScaling: () => ({ replicas: 2, desired: 2, min: 0, max: 10, inFlight: 0, queued: 0, decisions: [] }),
    readCron: async () => ({
      triggers: [{ schedule: "@daily", timezone: "UTC", nextPlannedAt: "2026-01-16T00:00:00.000Z" }],
      runs: [{ schedule: "@daily", timezone: "UTC", plannedAt: "2026-01-15T00:00:00.000Z", state: "interrupted" }],
    }),
    queues: {
      publish: async (queue, message) => {
        if (queue !== "orders") throw new KsError("QUEUE_NOT_FOUND");
        opened.published.push(message);
      },
      stats: async (queue) => (queue === "orders" ? { ready: opened.published.length, unacked: 0, dead: 0 } : undefined),
    },
    takersOf: () => [],
    takersOfFamily: () => [],
    access: new AccessControl({ authenticator: undefined, audit: { add: () => {} } }),
    keys: undefined,
    clientAddress: (request) => request.socket.remoteAddress ?? "",
    runtimes: () => [{ name: "nodejs18", language: "nodejs", version: "18.20.8", exact: true, available: true, hint: "" }],
    readiness: () => opened.readiness,
    scrape: () => ["# HELP kube_serverless_up Up.\n", "kube_serverless_up 1\n"],
    checkCron: (schedule) => (schedule === "* * * * *" ? undefined : "is no schedule"),
    clock: systemClock,
    onInternalError: (error) => opened.internalErrors.push(error),
    ...change,
  });
  const server = createServer((request, response) => {
    const { path, query } = parseTarget(request.url ?? "/");
    const origin = `http://${request.headers.host}`;
    api.handle(request, response, { requestId: randomUUID(), path, query, origin, credentials: NO_CREDENTIALS });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await api.close();
    await logs.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const send: ApiServer["send"] = async (method, path, body, headers = {}) => {
    const init = body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) };
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(`${url}${path}`, { method, headers: { ...type, ...headers }, ...init });
    const text = await response.text();
    return { response, body: text === "" ? undefined : JSON.parse(text) };
  };
  return Object.assign(opened, {
    url,
    port,
    endStreams: () => api.endStreams(),
    fetch: (path: string, init?: RequestInit) => fetch(`${url}${path}`, init),
    send,
  });
}
