import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { startServer, waitFor } from "../../support/server.ts";
import { type Answer, Client, type Question } from "./client.ts";
import { RawConnection } from "./raw-connection.ts";

/** A function to deploy; what is left out is chosen. */
export interface Wish {
  name?: string;
  runtime?: string;
  handler?: string;
  code: string;
  [field: string]: unknown;
}

const HANDLERS: Record<string, string> = { nodejs: "index.handler", python: "handler.handler", go: "Handler" };
/** Go may compile its standard library before its first function. */
const DEPLOY_LIMIT_MS = 100_000;

/** The platform under test: nothing but its address, and a key where it wants one. */
export class Platform {
  readonly url: string;
  /** True where the suite started it, with flags that a test may rely on. */
  readonly isOwn: boolean;
  readonly client: Client;
  readonly #created = new Set<string>();

  constructor(url: string, key: string | undefined, isOwn: boolean) {
    this.url = url.replace(/\/+$/, "");
    this.isOwn = isOwn;
    this.client = new Client(this.url, key);
  }

  get api(): string {
    return `${this.url}/api/v1`;
  }

  get host(): string {
    return new URL(this.url).host;
  }

  /** Any request to any path. */
  send(question: Question): Promise<Answer> {
    return this.client.send(question);
  }

  /** True where replicas are pods of a cluster. */
  async runsInPods(): Promise<boolean> {
    return "gateways" in (await this.send({ path: "/ready" })).json;
  }

  /** A request to the control API; `path` is what follows `/api/v1`. */
  control(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.client.send({ method, path: `/api/v1${path}`, body, headers });
  }

  get(path: string): Promise<Answer> {
    return this.control("GET", path);
  }

  /** `POST /functions`, and no waiting; what came of it is removed at the end. */
  async create(wish: Wish): Promise<Answer & { name: string }> {
    const spec = completeWish(wish);
    const answer = await this.control("POST", "/functions", spec);
    if (answer.status === 201) this.#created.add(spec.name);
    return Object.assign(answer, { name: spec.name });
  }

  /** Deploys and waits until it runs. @throws with what the platform says where it does not */
  async deploy(wish: Wish, limitMs = DEPLOY_LIMIT_MS): Promise<string> {
    const answer = await this.create(wish);
    if (answer.status !== 201) throw new Error(`deploying answered ${answer.status}: ${answer.text}`);
    const status = await this.settled(answer.name, limitMs);
    if (status.state !== "running") throw new Error(`${answer.name} is ${status.state}: ${status.message}`);
    return answer.name;
  }

  /** `PUT /functions/{name}` with the fields that GET would give back, changed. */
  put(name: string, wish: Wish, headers: Record<string, string> = {}): Promise<Answer> {
    return this.control("PUT", `/functions/${name}`, completeWish({ ...wish, name }), headers);
  }

  /** The function's status once it is no longer deploying. */
  settled(name: string, limitMs = DEPLOY_LIMIT_MS): Promise<FunctionStatus> {
    return waitFor(
      `${name} to be deployed`,
      async () => {
        const { status } = (await this.get(`/functions/${name}`)).json as { status: FunctionStatus };
        return status.state === "deploying" ? undefined : status;
      },
      limitMs,
    );
  }

  invoke(name: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.control("POST", `/functions/${name}/invoke`, body, headers);
  }

  /** Plain HTTP in and out: `path` is what follows `/fn/{name}`. */
  call(name: string, path = "", question: Omit<Question, "path"> = {}): Promise<Answer> {
    return this.client.send({ ...question, path: `/fn/${name}${path}` });
  }

  connect(): Promise<RawConnection> {
    return RawConnection.open(this.url);
  }

  async delete(name: string): Promise<Answer> {
    const answer = await this.control("DELETE", `/functions/${name}`);
    this.#created.delete(name);
    return answer;
  }

  async removeAll(): Promise<void> {
    await Promise.allSettled([...this.#created].map((name) => this.delete(name)));
    this.client.close();
  }
}

export interface FunctionStatus {
  state: "deploying" | "running" | "failed" | "deleting";
  reason?: string;
  message?: string;
  replicas: number;
  readyReplicas: number;
  endpoint: string;
  revision: number;
  observedGeneration: number;
  runtimeVersion?: string;
  lastDeployment?: string;
  lastInvocation?: string;
}

const OWN_KEY = "the-key-of-the-conformance-suite";

let count = 0;

/** A name that no other test, run or user has. */
export function uniqueName(label = "conf"): string {
  return `${label}-${Date.now().toString(36)}${(count++).toString(36)}${Math.floor(Math.random() * 46_656).toString(36)}`.slice(0, 50);
}

/** A path that no other test, run or user has. */
export function uniquePath(label = "conf"): string {
  return `/${uniqueName(label)}`;
}

export function completeWish(wish: Wish): Wish & { name: string } {
  const runtime = wish.runtime ?? "nodejs18";
  const handler = HANDLERS[/^[a-z]+/.exec(runtime)?.[0] ?? ""] ?? "index.handler";
  return { runtime, handler, ...wish, name: wish.name ?? uniqueName() };
}

/**
 * The platform at `KS_CONFORMANCE_URL`, with the key `KS_CONFORMANCE_KEY`; without a URL a server of its own with these flags, and with
 * authentication where `KS_CONFORMANCE_AUTH` is 1.
 * It is left as it was found, or ended, after the file's last test.
 */
export async function openPlatform(options: { flags?: readonly string[] } = {}): Promise<Platform> {
  const { KS_CONFORMANCE_URL: url, KS_CONFORMANCE_KEY: key } = process.env;
  if (url !== undefined && url !== "") {
    const platform = new Platform(url, key, false);
    after(() => platform.removeAll());
    return platform;
  }
  const dataFolder = createDataFolder();
  const isWithKey = process.env["KS_CONFORMANCE_AUTH"] === "1";
  const flags = [...(options.flags ?? []), ...(isWithKey ? ["--auth"] : [])];
  const server = await startServer({ dataFolder, flags, environment: isWithKey ? { KS_ADMIN_KEY: OWN_KEY } : {} });
  const platform = new Platform(server.url, isWithKey ? OWN_KEY : undefined, true);
  if (isWithKey && (await fetch(`${platform.api}/functions`)).status !== 401) throw new Error("the server asks nobody for a key");
  after(async () => {
    await platform.removeAll();
    await server.stop();
    rmSync(dataFolder, { recursive: true, force: true });
  });
  return platform;
}

/** New, but for the compiled standard library of Go, which takes half a minute of a core and is kept from file to file. */
function createDataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-conformance-"));
  const shared = join(tmpdir(), "kube-serverless-test-go", "toolkits");
  mkdirSync(shared, { recursive: true });
  mkdirSync(join(folder, "go"));
  symlinkSync(shared, join(folder, "go", "toolkits"));
  return folder;
}
