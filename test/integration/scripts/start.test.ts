import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

const root = join(import.meta.dirname, "../../..");

interface Ended {
  code: number | null;
  output: string;
  errors: string;
}

/** A small checkout whose server prints its arguments, with one dependency beside it so that installing needs no registry. */
async function makeCheckout(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ks-checkout-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(root, "scripts"), join(folder, "scripts"), { recursive: true });
  await mkdir(join(folder, "packages/server/src"), { recursive: true });
  await mkdir(join(folder, "dependency"));
  await mkdir(join(folder, "bin"));
  await symlink(process.execPath, join(folder, "bin/node"));
  await writeFile(join(folder, "dependency/package.json"), '{"name": "dependency", "version": "1.0.0"}');
  await writeFile(
    join(folder, "package.json"),
    '{"name": "checkout", "version": "1.0.0", "dependencies": {"dependency": "file:./dependency"}}',
  );
  await writeLock(folder, "1.0.0");
  const server = `const words = process.argv.slice(2);
    if (words[0] === "stay") { process.on("SIGTERM", () => process.exit(42)); setInterval(() => {}, 1000); }
    console.log(JSON.stringify(words));`;
  await writeFile(join(folder, "packages/server/src/main.ts"), server);
  return folder;
}

async function writeLock(folder: string, version: string): Promise<void> {
  const packages = {
    "": { name: "checkout", version, dependencies: { dependency: "file:./dependency" } },
    dependency: { version: "1.0.0" },
    "node_modules/dependency": { resolved: "dependency", link: true },
  };
  await writeFile(
    join(folder, "package-lock.json"),
    JSON.stringify({ name: "checkout", version, lockfileVersion: 3, requires: true, packages }),
  );
}

function spawnStart(folder: string, words: readonly string[], change: NodeJS.ProcessEnv = {}): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("npm_") && name !== "NODE_TEST_CONTEXT");
  const env = { ...Object.fromEntries(inherited), PATH: `${join(folder, "bin")}:${process.env["PATH"]}`, ...change };
  return spawn("sh", [join(folder, "scripts/start.sh"), ...words], { env, stdio: ["ignore", "pipe", "pipe"] });
}

function start(folder: string, words: readonly string[], change: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = spawnStart(folder, words, change);
  const ended: Ended = { code: null, output: "", errors: "" };
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => (ended.output += chunk));
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (ended.errors += chunk));
  return new Promise((resolve) => child.on("close", (code) => resolve({ ...ended, code })));
}

const INSTALLING = /needed once/;

test("the first start installs, the second does not, and arguments arrive as they are", async (t) => {
  const folder = await makeCheckout(t);
  const first = await start(folder, ["a b", "--port=1", "$HOME"]);
  assert.equal(first.output, '["a b","--port=1","$HOME"]\n', first.errors);
  assert.match(first.errors, INSTALLING);
  const second = await start(folder, []);
  assert.equal(second.output, "[]\n");
  assert.equal(second.errors, "");
});

test("a changed lock file and an install that was cut off are installed again", async (t) => {
  const folder = await makeCheckout(t);
  await start(folder, []);
  await writeLock(folder, "1.0.1");
  assert.match((await start(folder, [])).errors, INSTALLING);
  await rm(join(folder, "node_modules/.package-lock.json"));
  assert.match((await start(folder, [])).errors, INSTALLING);
  assert.equal((await start(folder, [])).errors, "");
});

test("starts at the same moment install once", async (t) => {
  const folder = await makeCheckout(t);
  const ended = await Promise.all([1, 2, 3].map((number) => start(folder, [String(number)])));
  assert.deepEqual(
    ended.map(({ code, output }) => [code, output]),
    [1, 2, 3].map((number) => [0, `["${number}"]\n`]),
  );
  assert.equal(ended.filter(({ errors }) => INSTALLING.test(errors)).length, 1);
  assert.ok(!(await readdir(folder)).includes(".npm-install.lock"));
});

test("a lock whose owner is gone is taken over", async (t) => {
  const folder = await makeCheckout(t);
  await mkdir(join(folder, ".npm-install.lock"));
  await writeFile(join(folder, ".npm-install.lock/pid"), "4194399\n");
  assert.equal((await start(folder, ["x"])).output, '["x"]\n');
});

test("the start becomes the server, so that signals and the exit code are its own", async (t) => {
  const folder = await makeCheckout(t);
  await start(folder, []);
  const child = spawnStart(folder, ["stay"]);
  const code = new Promise((resolve) => child.on("close", resolve));
  await new Promise((resolve) => child.stdout!.once("data", resolve));
  const name = await readFile(`/proc/${child.pid}/cmdline`, "utf8").catch(() => "");
  if (name !== "") assert.match(name, /main\.ts/);
  child.kill("SIGTERM");
  assert.equal(await code, 42);
});

test("without a Node.js of 24 or newer one line says so", async (t) => {
  const folder = await makeCheckout(t);
  await start(folder, []);
  await rm(join(folder, "bin/node"));
  await writeFile(join(folder, "bin/node"), "#!/bin/sh\necho v20.1.0\n", { mode: 0o755 });
  const { code, errors } = await start(folder, []);
  assert.equal(code, 1);
  assert.match(errors, /^kube-serverless: needs Node\.js 24 or newer: .* the installed one is v20\.1\.0\n$/);
});

test("an install that fails says where to look and leaves no lock", async (t) => {
  const folder = await makeCheckout(t);
  await writeFile(join(folder, "package-lock.json"), "{}");
  const { code, errors } = await start(folder, []);
  assert.equal(code, 1);
  assert.match(errors, /npm ci failed/);
  assert.ok(!(await readdir(folder)).includes(".npm-install.lock"));
});

test("help and wrong options of the real server answer with their exit codes", async () => {
  const help = await start(root, ["--help"]);
  assert.equal(help.code, 0);
  assert.match(help.output, /--data-dir FOLDER/);
  const wrong = await start(root, ["--prot", "1", "--port", "x"]);
  assert.equal(wrong.code, 2);
  assert.equal(wrong.output, "");
  assert.match(wrong.errors, /--prot is unknown; did you mean --port\?\n--port must be a whole number/);
});
