import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { readProcesses, treeSeconds } from "../../../bench/system/process-times.ts";
import { projectFolder } from "../../support/server.ts";

const NODE_18 = join(projectFolder, `node_modules/nodejs18-${process.platform}-${process.arch}/bin/node`);
/** With every package from npm's cache it takes some ten seconds of a core. */
const INSTALL_TIMEOUT_MS = 600_000;
/** A start takes 0.9 s of them with npm, on a busy machine; compiling or asking programs anew would be another second. */
const MAX_CPU_SECONDS = 1.5;

/** The program of npm, which our Node.js 18 shall run: the one on PATH would run by the Node.js that it is installed with. */
function findNpm(): string | undefined {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "npm"));
  const candidates = [process.env["npm_execpath"], ...onPath.filter((path) => existsSync(path)).map((path) => realpathSync(path))];
  return candidates.find((path) => path?.endsWith("npm-cli.js"));
}

const npm = findNpm();

function whyNot(): string | false {
  if (!existsSync(NODE_18)) return "the package nodejs18 is not installed: npm ci --include=optional";
  if (!existsSync(join(projectFolder, ".git"))) return "needs a checkout of git, to know its files";
  return npm === undefined ? "npm is not installed, or is no script" : false;
}

interface Started {
  child: ChildProcess;
  url: string;
  ms: number;
  cpuSeconds: number;
  errors: string;
}

describe("a fresh checkout, on a machine with Node.js 18", { skip: whyNot() }, () => {
  const folder = mkdtempSync(join(tmpdir(), "ks-fresh-"));
  const checkout = join(folder, "checkout");
  const running = new Set<ChildProcess>();

  before(() => {
    const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
      cwd: projectFolder,
      encoding: "utf8",
    });
    for (const file of files.split("\0").filter((name) => name !== "" && existsSync(join(projectFolder, name)))) {
      mkdirSync(dirname(join(checkout, file)), { recursive: true });
      cpSync(join(projectFolder, file), join(checkout, file), { verbatimSymlinks: true });
    }
    mkdirSync(join(folder, "bin"));
    symlinkSync(NODE_18, join(folder, "bin/node"));
  });
  after(() => {
    for (const child of running) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  function spawnStart(): ChildProcess {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_)/.test(name));
    const env = {
      ...Object.fromEntries(inherited),
      PATH: `${join(folder, "bin")}${delimiter}${process.env["PATH"]}`,
      npm_config_prefer_offline: "true",
      npm_config_update_notifier: "false",
    };
    const args = [npm!, "start", "--", "--port", "0", "--data-dir", join(folder, "data"), "--log-format", "json"];
    const child = spawn(NODE_18, args, { cwd: checkout, env, stdio: ["ignore", "pipe", "pipe"] });
    running.add(child);
    child.once("exit", () => running.delete(child));
    return child;
  }

  /** Resolves when it listens. */
  async function start(): Promise<Started> {
    const startMs = performance.now();
    const child = spawnStart();
    let errors = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (errors += text));
    for await (const line of createInterface({ input: child.stdout! })) {
      if (!line.includes('"listening"')) continue;
      child.stdout!.resume();
      const { root, below } = treeSeconds(child.pid!, readProcesses());
      const [url] = (JSON.parse(line) as { addresses: [string] }).addresses;
      return { child, url, ms: performance.now() - startMs, cpuSeconds: root + below, errors };
    }
    throw new Error(`it ended without listening:\n${errors}`);
  }

  async function stop({ child }: Started): Promise<number | null> {
    const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    return exited;
  }

  test("npm start installs what the lock file names, and serves Node.js 18 functions on Node.js 18", {
    timeout: INSTALL_TIMEOUT_MS,
  }, async () => {
    const started = await start();
    assert.match(started.errors, /needed once/);
    const { json } = await send(started.url, "/api/v1/functions", {
      name: "which",
      runtime: "nodejs18",
      handler: "index.handler",
      code: "exports.handler = async () => process.version;",
    });
    assert.equal(json.status.state, "deploying");
    const answer = await send(started.url, "/api/v1/functions/which/invoke", {});
    assert.match(answer.json.body, /^v18\./);
    assert.equal(await stop(started), 0);

    const lock = JSON.parse(readFileSync(join(projectFolder, "package-lock.json"), "utf8")).packages as Record<string, LockEntry>;
    const wrong = Object.entries(lock).filter(([path, entry]) => path !== "" && !isInstalledAsLocked(path, entry));
    assert.deepEqual(wrong, []);
  });

  test("the second start installs nothing, compiles nothing and asks nobody", async (t) => {
    const started = await start();
    assert.doesNotMatch(started.errors, /needed once/);
    t.diagnostic(`npm start took ${Math.round(started.ms)} ms and ${started.cpuSeconds.toFixed(2)} s of CPU time until it listened`);
    assert.ok(started.cpuSeconds < MAX_CPU_SECONDS, `${started.cpuSeconds} s of CPU time`);
    assert.equal(await stop(started), 0);
  });

  test("without the package of its own Node.js, one clear line says what is too old", async () => {
    const modules = join(checkout, "node_modules");
    const name = `node-${process.platform}-${process.arch}`;
    renameSync(join(modules, name), join(folder, name));
    const child = spawnStart();
    let errors = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (errors += text));
    const code = await new Promise((resolve) => child.once("close", resolve));
    renameSync(join(folder, name), join(modules, name));
    assert.equal(code, 1);
    assert.deepEqual(
      errors.split("\n").filter((line) => line.startsWith("kube-serverless:")),
      [
        `kube-serverless: needs Node.js 24 or newer: the package ${name} is not installed (run 'npm ci --include=optional'), and the installed one is ${nodeVersion()}`,
      ],
    );
  });

  interface LockEntry {
    version?: string;
    link?: boolean;
    optional?: boolean;
  }

  /** An optional package may be one for another machine. */
  function isInstalledAsLocked(path: string, { version, link, optional }: LockEntry): boolean {
    const manifest = join(checkout, path, "package.json");
    if (!existsSync(manifest)) return optional === true;
    if (link === true || version === undefined) return true;
    // Written as v18.20.8 in some packages.
    return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version.replace(/^v/, "") === version.replace(/^v/, "");
  }
});

function nodeVersion(): string {
  return execFileSync(NODE_18, ["--version"], { encoding: "utf8" }).trim();
}

async function send(url: string, path: string, body: unknown): Promise<{ status: number; json: any }> {
  const response = await fetch(url + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  return { status: response.status, json: await response.json() };
}
