import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { Readable } from "node:stream";
import { ApiError, hasStatus, type StatusBody } from "./api-error.ts";
import type { ClusterConnection } from "./connection.ts";
import { buildPath, type KubernetesObject, type Persisted, type Resource } from "./resource.ts";

/** Above the API server's own limit for requests, which is 60 s. */
const ANSWER_TIMEOUT_MS = 65_000;
/** A peer that vanished is noticed by TCP itself within some of these. */
const KEEP_ALIVE_MS = 5000;

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  query?: Query;
  body?: unknown;
  /** @default application/json */
  contentType?: string;
  signal?: AbortSignal;
  /** For the whole answer. @default 65 s */
  timeoutMs?: number;
}

export interface ListPage<T extends KubernetesObject> {
  metadata: { resourceVersion: string; continue?: string };
  items: Persisted<T>[];
}

/** Requests to the API server. Every failure is an ApiError. */
export class ApiClient {
  readonly #connection: ClusterConnection;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #isSecure: boolean;

  constructor(connection: ClusterConnection) {
    this.#connection = connection;
    this.#isSecure = connection.url.startsWith("https:");
    const keepAlive = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxFreeSockets: 8 };
    this.#agent = this.#isSecure ? new HttpsAgent({ ...keepAlive, ...connection.tls }) : new HttpAgent(keepAlive);
  }

  async get<T extends KubernetesObject>(resource: Resource, name: string, options?: RequestOptions): Promise<Persisted<T>> {
    return (await this.request("GET", buildPath(resource, name), options)) as Persisted<T>;
  }

  /** Undefined where there is none. */
  async find<T extends KubernetesObject>(resource: Resource, name: string, options?: RequestOptions): Promise<Persisted<T> | undefined> {
    try {
      return await this.get<T>(resource, name, options);
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  async listPage<T extends KubernetesObject>(resource: Resource, query: Query = {}, signal?: AbortSignal): Promise<ListPage<T>> {
    const options = signal === undefined ? { query } : { query, signal };
    return (await this.request("GET", buildPath(resource), options)) as ListPage<T>;
  }

  async create<T extends KubernetesObject>(resource: Resource, object: T, query: Query = {}): Promise<Persisted<T>> {
    const body = { apiVersion: resource.apiVersion, kind: resource.kind, ...object };
    return (await this.request("POST", buildPath(resource), { query, body })) as Persisted<T>;
  }

  /** Refused with 409 where `metadata.resourceVersion` is given and no longer the current one. */
  async replace<T extends KubernetesObject>(resource: Resource, object: T, query: Query = {}): Promise<Persisted<T>> {
    const body = { apiVersion: resource.apiVersion, kind: resource.kind, ...object };
    return (await this.request("PUT", buildPath(resource, object.metadata.name), { query, body })) as Persisted<T>;
  }

  /** Server-side apply: `object` is all that `manager` wants to say; what others said of it is taken over. */
  async apply<T extends KubernetesObject>(resource: Resource, object: T, manager: string, subresource?: string): Promise<Persisted<T>> {
    const body = { apiVersion: resource.apiVersion, kind: resource.kind, ...object };
    return (await this.request("PATCH", buildPath(resource, object.metadata.name, subresource), {
      query: { fieldManager: manager, force: true },
      body,
      contentType: "application/apply-patch+yaml",
    })) as Persisted<T>;
  }

  /** Merge patch: null removes a field. */
  async merge<T extends KubernetesObject>(resource: Resource, name: string, patch: unknown, query: Query = {}): Promise<Persisted<T>> {
    const contentType = "application/merge-patch+json";
    return (await this.request("PATCH", buildPath(resource, name), { query, body: patch, contentType })) as Persisted<T>;
  }

  /** True when there was one to delete. */
  async delete(resource: Resource, name: string, body: object = {}): Promise<boolean> {
    try {
      await this.request("DELETE", buildPath(resource, name), { body });
      return true;
    } catch (error) {
      if (hasStatus(error, 404)) return false;
      throw error;
    }
  }

  /** One request and its answer as JSON. @throws ApiError */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<unknown> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? ANSWER_TIMEOUT_MS);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const answer = await this.#send(method, path, options, signal);
    const text = await readText(answer, signal);
    if (answer.statusCode! >= 300) throw buildError(answer, text);
    return text === "" ? undefined : parseJson(text);
  }

  /** A request whose answer goes on, as a watch's does. @throws ApiError */
  async stream(path: string, query: Query, signal: AbortSignal): Promise<Readable> {
    const answer = await this.#send("GET", path, { query }, signal);
    if (answer.statusCode! >= 300) throw buildError(answer, await readText(answer, signal));
    return answer;
  }

  stop(): void {
    this.#agent.destroy();
  }

  async #send(method: string, path: string, options: RequestOptions, signal: AbortSignal): Promise<IncomingMessage> {
    const { url } = this.#connection;
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body));
    try {
      const headers: Record<string, string | number> = { accept: "application/json", ...(await this.#connection.headers()) };
      if (body !== undefined) {
        headers["content-type"] = options.contentType ?? "application/json";
        headers["content-length"] = body.length;
      }
      return await new Promise<IncomingMessage>((resolve, reject) => {
        const send = this.#isSecure ? requestHttps : requestHttp;
        const target = `${url}${path}${formatQuery(options.query)}`;
        send(target, { method, headers, agent: this.#agent, signal }, resolve).on("error", reject).end(body);
      });
    } catch (cause) {
      throw unreachable(cause, signal);
    }
  }
}

function formatQuery(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.append(key, String(value));
  return parameters.size === 0 ? "" : `?${parameters.toString()}`;
}

async function readText(answer: Readable, signal: AbortSignal): Promise<string> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of answer) pieces.push(piece as Buffer);
  } catch (cause) {
    throw unreachable(cause, signal);
  }
  return Buffer.concat(pieces).toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ApiError({ status: 0, message: "The API server's answer is no JSON", cause });
  }
}

function unreachable(cause: unknown, signal: AbortSignal): ApiError {
  const why = signal.aborted && signal.reason instanceof Error ? signal.reason.message : (cause as Error).message;
  return new ApiError({ status: 0, message: `The API server cannot be reached: ${why}`, cause });
}

function buildError(answer: IncomingMessage, text: string): ApiError {
  const status = answer.statusCode!;
  let body: StatusBody | undefined;
  try {
    body = JSON.parse(text) as StatusBody;
  } catch {
    body = undefined;
  }
  const seconds = Number(answer.headers["retry-after"] ?? body?.details?.retryAfterSeconds);
  return new ApiError({
    status,
    message: body?.message ?? `The API server answered ${status}: ${text.slice(0, 200)}`,
    ...(body === undefined ? {} : { body }),
    ...(Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {}),
  });
}
