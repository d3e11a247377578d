import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { isReachableByAll } from "../../../packages/server/src/instances/local/sandbox/staging.ts";
import { isRoot, whyNot } from "../sandbox/support.ts";
import {
  compileCache,
  createDataFolder,
  GO_TOOLKITS_FOLDER,
  projectFolder,
  type ServerOptions,
  startServer,
  type TestServer,
} from "../../support/server.ts";
import { Client, type FunctionBody } from "./support/client.ts";

const run = promisify(execFile);
const needsRoot = isRoot ? false : "needs root, to be somebody else or to hide a program";
const NOBODY = 65_534;

/** One function in each language; Go compiles its standard library before the first one where that was never done. */
const LANGUAGES: readonly FunctionBody[] = [
  { name: "in-node", runtime: "nodejs18", code: "exports.handler = async ({ body }) => ({ hello: body.name });" },
  { name: "in-python", runtime: "python39", code: "def handler(event):\n    return {'hello': event['body']['name']}\n" },
  {
    name: "in-go",
    runtime: "go119",
    code: 'package main\n\nfunc Handler(event map[string]any) (any, error) {\n\treturn map[string]any{"hello": event["body"].(map[string]any)["name"]}, nil\n}\n',
  },
];

async function open(t: TestContext, options: ServerOptions = {}): Promise<{ server: TestServer; client: Client }> {
  const server = await startServer(options);
  t.after(async () => {
    if (server.child.exitCode === null && server.child.signalCode === null) await server.kill();
    if (options.dataFolder === undefined) rmSync(server.dataFolder, { recursive: true, force: true });
  });
  return { server, client: new Client(server) };
}

async function callInAllLanguages(client: Client): Promise<void> {
  const { json: runtimes } = await client.get("/runtimes");
  const isThere = (name: string): boolean => runtimes.find((runtime: { name: string }) => runtime.name === name)?.available;
  for (const body of LANGUAGES.filter(({ runtime }) => isThere(runtime!))) {
    await client.deploy(body);
    const { status, json, text: answer } = await client.invoke(body.name, { name: "world" });
    assert.deepEqual([status, json.body], [200, { hello: "world" }], answer);
  }
}

/** Runs the server to an end that comes by itself. */
async function runToEnd(
  flags: readonly string[],
  change: { environment?: Record<string, string>; prefix?: readonly string[] } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = [...(change.prefix ?? []), process.execPath, "--disable-warning=ExperimentalWarning"];
  const main = join(projectFolder, "packages/server/src/main.ts");
  const child = spawn(command[0]!, [...command.slice(1), main, ...flags], {
    env: { ...process.env, ...change.environment },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 30_000,
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, stdout, stderr };
}

/** What is printed up to some text, however long a loaded machine takes. @throws Error when the stream ends before */
async function readUntil(stream: Readable, ending: string): Promise<string> {
  let printed = "";
  for await (const chunk of stream.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    printed += chunk as string;
    if (printed.includes(ending)) return printed;
  }
  throw new Error(`it ended before it printed ${JSON.stringify(ending)}:\n${printed}`);
}

/** Hides a program from the server alone. */
function without(program: string): string[] {
  return ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', program];
}

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ks-start-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe("who starts it, and from where", () => {
  test("root, from a checkout that nobody else may enter", { skip: needsRoot || whyNot("bwrap", "python3") }, async (t) => {
    const checkout = copyCheckout(t);
    assert.equal(isReachableByAll(checkout), false);
    const { server, client } = await open(t, { checkout });
    const { json: ready } = await client.get("/ready");
    assert.equal(ready.sandbox.driver, "bubblewrap");
    await callInAllLanguages(client);
    assert.equal((await server.stop()).code, 0);
  });

  const whyNotAsUser =
    needsRoot || (isReachableByAll(projectFolder) ? whyNot("bwrap", "setpriv") : "the checkout is not readable by others");
  test("an ordinary user, with bubblewrap and data below the home folder", { skip: whyNotAsUser }, async (t) => {
    const home = temporaryFolder(t);
    const go = join(home, ".local/share/kube-serverless/go");
    mkdirSync(go, { recursive: true });
    if (existsSync(GO_TOOLKITS_FOLDER)) await run("cp", ["-al", GO_TOOLKITS_FOLDER, go]);
    await run("find", [home, "-type", "d", "-exec", "chown", `${NOBODY}:${NOBODY}`, "{}", "+"]);
    const user = ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups", "--"];
    const environment = { HOME: home, XDG_DATA_HOME: "", XDG_RUNTIME_DIR: "", NODE_COMPILE_CACHE: join(home, "cache") };
    const { server, client } = await open(t, { prefix: ["setpriv", ...user], environment, dataFolder: null });
    assert.equal(server.dataFolder, join(home, ".local/share/kube-serverless"));
    assert.equal(statSync(server.dataFolder).mode & 0o777, 0o700);
    const { json: ready } = await client.get("/ready");
    assert.equal(ready.sandbox.driver, "bubblewrap");
    await callInAllLanguages(client);
    assert.equal((await server.stop()).code, 0);
  });

  test("XDG_DATA_HOME says where the data is", async (t) => {
    const folder = temporaryFolder(t);
    const { server } = await open(t, { environment: { XDG_DATA_HOME: folder }, dataFolder: null, flags: ["--pool-size", "0"] });
    assert.equal(server.dataFolder, join(folder, "kube-serverless"));
    assert.equal(existsSync(join(folder, "kube-serverless/state.db")), true);
    assert.equal((await server.stop()).code, 0);
  });
});

test("the banner says what was found, and its three commands work as they stand", { skip: whyNot("bwrap", "curl") }, async (t) => {
  const dataFolder = createDataFolder();
  const main = join(projectFolder, "packages/server/src/main.ts");
  const flags = ["--port", "0", "--data-dir", dataFolder, "--log-format", "pretty"];
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(dataFolder, { recursive: true, force: true });
  });
  const banner = await readUntil(child.stdout, "/logs\n");
  for (const expected of [
    /listening +http:\/\/127\.0\.0\.1:\d+/,
    new RegExp(`data +${dataFolder}`),
    /nodejs18 +18\./,
    /python39 +(3\.|not installed)/,
    /go119 +(1\.|not installed)/,
    /sandbox +bubblewrap, memory/,
    /network +/,
    /queues +embedded/,
  ]) {
    assert.match(banner, expected);
  }
  const commands = banner.split("\n").filter((line) => line.startsWith("  curl "));
  assert.equal(commands.length, 3);
  const outputs: string[] = [];
  for (const command of commands) outputs.push((await run("sh", ["-c", `${command} -sS --fail-with-body`])).stdout);
  assert.equal(JSON.parse(outputs[0]!).status.state, "deploying");
  assert.deepEqual(JSON.parse(outputs[1]!), { statusCode: 200, body: { hello: { name: "world" } } });
  assert.ok(Array.isArray(JSON.parse(outputs[2]!)));
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});

test("where no person reads it, everything printed is one JSON object a line, with the banner's facts and commands", async (t) => {
  const dataFolder = createDataFolder();
  t.after(() => rmSync(dataFolder, { recursive: true, force: true }));
  const main = join(projectFolder, "packages/server/src/main.ts");
  const flags = ["--port", "0", "--data-dir", dataFolder, "--pool-size", "0"];
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
  });
  t.after(() => child.kill("SIGKILL"));
  const errors = text(child.stderr);
  const beginning = await readUntil(child.stdout, '"listening"');
  child.kill("SIGTERM");
  const records = [beginning, await text(child.stdout), await errors]
    .join("")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const record = records.find(({ msg }) => msg === "listening");
  assert.match(record.addresses[0], /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal(record.dataFolder, dataFolder);
  assert.match(record.runtimes.find(({ name }: { name: string }) => name === "nodejs18").version, /^18\./);
  assert.ok(record.sandbox.driver && record.sandbox.network && record.sandbox.memory && record.queues);
  assert.equal(record.try.length, 3);
  for (const command of record.try) assert.ok(command.startsWith("curl ") && command.includes(record.addresses[0]), command);
});

describe("what it refuses to start with", () => {
  test("wrong values: all of them at once, and exit code 2", async (t) => {
    const file = join(temporaryFolder(t), "config.json");
    writeFileSync(file, `{"pool": {"nodejs18": -1}, "colour": "red"}`);
    const flags = [
      "--port",
      "65536",
      "--idle-timeout",
      "soon",
      "--sandbox",
      "maybe",
      "--tls-cert",
      "cert.pem",
      "--config",
      file,
      "--prot",
      "1",
    ];
    const { code, stdout, stderr } = await runToEnd(flags, { environment: { KS_MAX_REPLICAS: "0" } });
    assert.deepEqual([code, stdout], [2, ""]);
    const lines = stderr.trim().split("\n");
    for (const expected of [
      /port/,
      /idle-timeout/,
      /sandbox/,
      /tls-cert names a file/,
      /pool/,
      /colour/,
      /prot .* --port\?/,
      /KS_MAX_REPLICAS|max-replicas/,
    ]) {
      assert.ok(
        lines.some((line) => expected.test(line)),
        `${expected} is not in:\n${stderr}`,
      );
    }
  });

  test("an address that others reach, without saying so", async () => {
    const { code, stderr } = await runToEnd(["--port", "0", "--host", "0.0.0.0"]);
    assert.equal(code, 2);
    assert.match(stderr, /^.*0\.0\.0\.0.*--insecure-no-auth.*\n$/);
  });

  test("--sandbox=require without bubblewrap", { skip: needsRoot || whyNot("bwrap") }, async (t) => {
    const flags = ["--port", "0", "--sandbox", "require", "--data-dir", temporaryFolder(t)];
    const { code, stderr } = await runToEnd(flags, { prefix: without("/usr/bin/bwrap") });
    assert.equal(code, 1);
    assert.match(stderr, /^The sandbox can't be had: .*bwrap.*\. Start with --sandbox=auto .* install bubblewrap .*\n$/);
  });

  test("files and programs that are not there, among the other wrong values", async () => {
    const flags = ["--tls-cert", "/nonexistent/cert.pem", "--tls-key", "/nonexistent/key.pem"];
    const { code, stderr } = await runToEnd([...flags, "--runtime-path", "python39=/nonexistent/python", "--port", "x", "--port", "0"]);
    assert.equal(code, 2);
    assert.deepEqual(stderr.split("\n"), [
      "--port is given twice: give it once",
      "--tls-cert names a file that cannot be read: ENOENT: no such file or directory, open '/nonexistent/cert.pem'",
      "--tls-key names a file that cannot be read: ENOENT: no such file or directory, open '/nonexistent/key.pem'",
      "--runtime-path names /nonexistent/python for python39, which is no program",
      "",
    ]);
  });

  test("a program that is not what --runtime-path calls it", async (t) => {
    const folder = temporaryFolder(t);
    const flags = ["--port", "0", "--data-dir", folder, "--runtime-path", `go119=/bin/true,nodejs20=${process.execPath}`];
    const { code, stderr } = await runToEnd(flags);
    assert.equal(code, 2);
    assert.deepEqual(stderr.split("\n"), [
      "--runtime-path go119=/bin/true names no Go that runs here: it does not tell its version as Go does",
      `--runtime-path nodejs20=${process.execPath} names Node.js ${process.versions.node}, whose runtime is nodejs24`,
      "",
    ]);
    // It has let go of the data folder.
    const { server } = await open(t, { dataFolder: folder, flags: ["--pool-size", "0"] });
    assert.equal((await server.stop()).code, 0);
  });
});

describe("how it can be started", () => {
  test("--insecure-no-auth: open to others, whatever Host and Origin they name", { skip: needsRoot || whyNot("ip") }, async (t) => {
    // In a network of its own, so that nobody else comes in meanwhile.
    const network = ["unshare", "-n", "sh", "-c", 'ip link set lo up && ip address add 198.51.100.7/32 dev lo && exec "$@"', "sh"];
    const { server } = await open(t, { prefix: network, flags: ["--host", "0.0.0.0", "--insecure-no-auth", "--pool-size", "0"] });
    const fetchWithin = async (...args: string[]): Promise<string> => {
      const { stdout } = await run("nsenter", [
        "-n",
        "-t",
        String(server.child.pid),
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        ...args,
      ]);
      return stdout;
    };
    const url = `http://198.51.100.7:${server.port}/api/v1/functions`;
    assert.equal(await fetchWithin(url), "200");
    assert.equal(await fetchWithin("-H", "Host: example.com", "-H", "Origin: https://example.com", url), "200");
    assert.equal((await server.stop()).code, 0);
  });

  test("--sandbox=plain: all languages, on loopback, with a warning", async (t) => {
    const { server, client } = await open(t, { flags: ["--sandbox", "plain"] });
    const { json: ready } = await client.get("/ready");
    assert.equal(ready.sandbox.driver, "plain");
    assert.ok(ready.degraded.includes("sandbox-plain"));
    await callInAllLanguages(client);
    assert.equal((await server.stop()).code, 0);
  });

  test("without bubblewrap: plain processes, and a warning that says what to install", {
    skip: needsRoot || whyNot("bwrap"),
  }, async (t) => {
    const { server, client } = await open(t, { prefix: without("/usr/bin/bwrap"), flags: ["--pool-size", "0"] });
    assert.ok((await client.degraded()).includes("sandbox-plain"));
    assert.ok(server.log.some(({ level, msg }) => level === 40 && /not isolated: install bubblewrap/.test(msg)));
    await client.deploy(LANGUAGES[0]!);
    assert.equal((await client.invoke("in-node", { name: "world" })).status, 200);
    assert.equal((await server.stop()).code, 0);
  });

  const hasOpenSsl = spawnSync("openssl", ["version"]).status === 0;
  test("--tls-cert and --tls-key: the same over HTTPS", { skip: hasOpenSsl ? false : "openssl is not installed" }, async (t) => {
    const folder = temporaryFolder(t);
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
    await run("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", ...subject, "-keyout", key, "-out", cert]);
    const { server } = await open(t, { flags: ["--tls-cert", cert, "--tls-key", key, "--pool-size", "0"] });
    assert.match(server.url, /^https:/);
    const body = await new Promise<string>((resolve, reject) => {
      get(`${server.url}/ready`, { ca: readFileSync(cert) }, (response) => resolve(text(response))).on("error", reject);
    });
    assert.equal(JSON.parse(body).status, "ready");
    assert.equal((await server.stop()).code, 0);
  });

  test("--version", async () => {
    const { version } = JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8"));
    assert.deepEqual(await runToEnd(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

/** This checkout without what git ignores, in a folder of mode 0700; packages are linked, but for those that functions run on. */
function copyCheckout(t: TestContext): string {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o700);
  for (const name of ["package.json", "packages", "runtimes"]) cpSync(join(projectFolder, name), join(folder, name), { recursive: true });
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of readdirSync(join(projectFolder, "node_modules"))) {
    const source = join(projectFolder, "node_modules", name);
    if (name === "@kube-serverless") {
      mkdirSync(join(modules, name));
      for (const part of readdirSync(source)) symlinkSync(join(folder, "packages", part), join(modules, name, part));
    } else if (name.startsWith("nodejs18-")) cpSync(source, join(modules, name), { recursive: true });
    else symlinkSync(source, join(modules, name));
  }
  return folder;
}
