import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const projectFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** As `npm start` has it: half of a start is compiling. */
export const compileCache = join(projectFolder, "node_modules/.cache/node");

export interface ServerOptions {
  /** Flags beyond port, data folder and log format. */
  flags?: readonly string[];
  environment?: Readonly<Record<string, string>>;
  /** Runs the server, as `setpriv` does. */
  prefix?: readonly string[];
  /** Kept after `stop`; one of `createDataFolder`, removed at the end, when absent; the server's own choice when null. */
  dataFolder?: string | null;
  /** Whose server it is. @default this project */
  checkout?: string;
}

/** One line of the server's own log. */
export interface ServerLogLine {
  level: number;
  msg: string;
  [field: string]: unknown;
}

/** A real server in a process of its own, on a free port of loopback. */
export class TestServer {
  readonly child: ChildProcess;
  readonly url: string;
  readonly dataFolder: string;
  readonly log: ServerLogLine[];
  readonly #exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #ownFolder: boolean;

  constructor(child: ChildProcess, url: string, dataFolder: string, ownFolder: boolean, log: ServerLogLine[]) {
    this.child = child;
    this.url = url;
    this.dataFolder = dataFolder;
    this.log = log;
    this.#ownFolder = ownFolder;
    this.#exited = awaitExit(child);
  }

  get api(): string {
    return `${this.url}/api/v1`;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  get exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exited;
  }

  /** SIGTERM, and the exit that follows. */
  async stop(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.child.kill("SIGTERM");
    const exit = await this.#exited;
    if (this.#ownFolder) rmSync(this.dataFolder, { recursive: true, force: true });
    return exit;
  }

  /** SIGKILL: as a power cut or the kernel would end it. The data folder stays. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#exited;
  }
}

function awaitExit(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
}

/** Compiling Go's standard library takes half a minute of a core, so it is kept from test to test. */
export const GO_TOOLKITS_FOLDER = join(tmpdir(), `kube-serverless-test-go-${userInfo().uid}`, "toolkits");

/** New and empty, but for what Go needs. */
export function createDataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-test-"));
  mkdirSync(GO_TOOLKITS_FOLDER, { recursive: true });
  mkdirSync(join(folder, "go"));
  symlinkSync(GO_TOOLKITS_FOLDER, join(folder, "go", "toolkits"));
  return folder;
}

/** Starts a server and resolves once it listens. @throws with what it printed when it ends before */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const dataFolder = options.dataFolder === undefined ? createDataFolder() : options.dataFolder;
  const command = [...(options.prefix ?? []), process.execPath];
  const child = spawn(
    command[0]!,
    [
      ...command.slice(1),
      "--disable-warning=ExperimentalWarning",
      join(options.checkout ?? projectFolder, "packages/server/src/main.ts"),
      ...(dataFolder === null ? [] : ["--data-dir", dataFolder]),
      ...["--port", "0", "--log-format", "json", ...(options.flags ?? [])],
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NODE_COMPILE_CACHE: compileCache, ...options.environment } },
  );
  const log: ServerLogLine[] = [];
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-20_000)));
  const listening = await new Promise<ServerLogLine>((resolve, reject) => {
    const onLine = (line: string): void => {
      const entry = parseLine(line);
      if (entry === undefined) return;
      log.push(entry);
      if (entry.msg === "listening") resolve(entry);
    };
    createInterface({ input: child.stdout }).on("line", onLine);
    createInterface({ input: child.stderr }).on("line", onLine);
    child.once("error", reject);
    child.once("close", (code, signal) => reject(new Error(`the server ended with ${signal ?? code} before it listened:\n${stderr}`)));
  });
  const [url] = listening["addresses"] as [string];
  return new TestServer(child, url, listening["dataFolder"] as string, options.dataFolder === undefined, log);
}

function parseLine(line: string): ServerLogLine | undefined {
  try {
    return JSON.parse(line) as ServerLogLine;
  } catch {
    return undefined;
  }
}

/** Waits until `condition` gives something. @throws after `limitMs`, naming what was waited for */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  limitMs = 10_000,
): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > endMs) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
