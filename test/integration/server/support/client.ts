import { waitFor } from "../../../support/server.ts";

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** Parsed where it is JSON, else undefined. */
  json: any;
}

export interface FunctionBody {
  name: string;
  code: string;
  runtime?: string;
  handler?: string;
  [field: string]: unknown;
}

/** The control API and calls of one server. */
export class Client {
  readonly #api: string;

  constructor(server: { api: string }) {
    this.#api = server.api;
  }

  /** `path` is what follows `/api/v1`. @throws TypeError when the server is away */
  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(`${this.#api}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
  }

  get(path: string): Promise<Answer> {
    return this.send("GET", path);
  }

  create(body: FunctionBody): Promise<Answer> {
    return this.send("POST", "/functions", complete(body));
  }

  put(body: FunctionBody): Promise<Answer> {
    return this.send("PUT", `/functions/${body.name}`, complete(body));
  }

  delete(name: string): Promise<Answer> {
    return this.send("DELETE", `/functions/${name}`);
  }

  invoke(name: string, event: unknown = {}): Promise<Answer> {
    return this.send("POST", `/functions/${name}/invoke`, event);
  }

  publish(queue: string, message: unknown): Promise<Answer> {
    return this.send("POST", `/queues/${queue}/messages`, message);
  }

  async queue(name: string): Promise<{ ready: number; unacked: number; dead: number }> {
    const { status, json, text } = await this.get(`/queues/${name}`);
    if (status !== 200) throw new Error(`queue ${name} answered ${status}: ${text}`);
    return json;
  }

  /** What `/ready` says is away or weaker. */
  async degraded(): Promise<string[]> {
    const { json } = await this.get("/ready");
    return json.degraded ?? [];
  }

  /** Deploys and waits until it runs. */
  async deploy(body: FunctionBody): Promise<void> {
    const { status, text } = await this.create(body);
    if (status !== 201) throw new Error(`deploying ${body.name} answered ${status}: ${text}`);
    await this.running(body.name);
  }

  /** Replaces and waits until the new one runs. */
  async update(body: FunctionBody): Promise<void> {
    const { status, text } = await this.put(body);
    if (status !== 200) throw new Error(`updating ${body.name} answered ${status}: ${text}`);
    await this.running(body.name);
  }

  async running(name: string): Promise<void> {
    const { state, message } = await this.settled(name);
    if (state !== "running") throw new Error(`${name} is ${state}: ${message}`);
  }

  /** The status of a function once it deploys no longer. */
  settled(name: string, limitMs = 60_000): Promise<{ state: string; revision: number; message?: string; [field: string]: unknown }> {
    return waitFor(
      `${name} to be deployed`,
      async () => {
        const { json } = await this.get(`/functions/${name}`);
        return json.status.state === "deploying" ? undefined : json.status;
      },
      limitMs,
    );
  }
}

const HANDLERS: Record<string, string> = { nodejs: "index.handler", python: "handler.handler", go: "Handler" };

function complete(body: FunctionBody): FunctionBody {
  const runtime = body.runtime ?? "nodejs18";
  return { runtime, handler: HANDLERS[/^[a-z]+/.exec(runtime)?.[0] ?? ""] ?? "index.handler", ...body };
}
