import assert from "node:assert/strict";
import { type ServerOptions, startServer, type TestServer, waitFor } from "../../../support/server.ts";

export const ADMIN = "an-admin-key-of-forty-characters,-no-less";

export interface Answer {
  status: number;
  headers: Headers;
  // Tests read what they expect.
  body: any;
}

/** What a request sends beside method and path. */
export interface Sent {
  /** Sent as `Authorization: Bearer`. */
  key?: string | undefined;
  /** A string as it is, else JSON. */
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
}

/** A server with authentication, and requests to it. */
export class SecuredServer implements AsyncDisposable {
  readonly server: TestServer;

  constructor(server: TestServer) {
    this.server = server;
  }

  static async start({ flags = [], environment = {}, ...others }: ServerOptions = {}): Promise<SecuredServer> {
    const server = await startServer({
      ...others,
      flags: ["--auth", ...flags],
      environment: { KS_ADMIN_KEY: ADMIN, ...environment },
    });
    return new SecuredServer(server);
  }

  async send(method: string, path: string, { key, body, headers = {} }: Sent = {}): Promise<Answer> {
    const response = await fetch(`${this.server.url}${path}`, {
      method,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true && text !== "";
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  admin(method: string, path: string, body?: unknown): Promise<Answer> {
    return this.send(method, path, { key: ADMIN, body });
  }

  async createKey(wish: object): Promise<{ id: string; key: string }> {
    const made = await this.admin("POST", "/api/v1/keys", { name: "of a test", ...wish });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    return made.body;
  }

  /** Deploys a Node.js function, and waits until it runs. */
  async deploy(name: string, code: string, more: object = {}, key = ADMIN): Promise<void> {
    const body = { name, runtime: "nodejs18", handler: "index.handler", code, ...more };
    const made = await this.send("POST", "/api/v1/functions", { key, body });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const isRunning = async (): Promise<boolean> => {
      const { state, message } = (await this.send("GET", `/api/v1/functions/${name}`, { key })).body.status;
      if (state === "failed") throw new Error(`${name} failed: ${message}`);
      return state === "running";
    };
    await waitFor(`${name} to run`, isRunning, 60_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** Answers with its caller and the headers that it got. */
export const ECHO =
  "exports.handler = async (event, context) => ({ statusCode: 200, body: { headers: event.headers, caller: context.caller ?? null } });";
