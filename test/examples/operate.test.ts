import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request as requestTls } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "../support/process.ts";
import { projectFolder, startServer, type TestServer, waitFor } from "../support/server.ts";
import { explainMissingPrograms } from "./support/missing.ts";
import { parsePage } from "./support/page.ts";

const run = promisify(execFile);
const HOST = "functions.example.com";

function readFileOfPage(page: string, name: string): string {
  const { files } = parsePage(readFileSync(join(projectFolder, "docs/how-to", page), "utf8"));
  const file = files.find((candidate) => candidate.name === name);
  assert.ok(file, `${page} shows ${name}`);
  return file.text;
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ks-operate-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function makeCertificate(folder: string): Promise<{ certificate: string; key: string }> {
  const [certificate, key] = [join(folder, "functions.pem"), join(folder, "functions.key")];
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", `/CN=${HOST}`, "-addext", `subjectAltName=DNS:${HOST}`, "-keyout", key, "-out", certificate],
  ]);
  return { certificate, key };
}

/** GET over TLS as the outside world would, to whatever listens on the port. */
async function get(path: string, port: number, certificate: string): Promise<{ status: number; text: string }> {
  const options = { host: "127.0.0.1", port, path, servername: HOST, headers: { Host: HOST }, ca: readFileSync(certificate), agent: false };
  const asked = requestTls(options).end();
  const [response] = (await once(asked, "response")) as [import("node:http").IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  return { status: response.statusCode!, text };
}

async function post(server: TestServer, path: string, body: unknown): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  return fetch(server.api + path, { method: "POST", headers, body: JSON.stringify(body) });
}

const SHOW_HEADERS = {
  name: "show",
  runtime: "nodejs18",
  handler: "index.handler",
  triggers: [{ type: "http", config: { path: "/show" } }],
  code: `exports.handler = async ({ headers }) =>
    ({ proto: headers["x-forwarded-proto"], host: headers["x-forwarded-host"], from: headers["x-forwarded-for"] });`,
};

test("proxy: the page's nginx lets functions out, keeps the rest in, and tells who called", async (t) => {
  const missing = explainMissingPrograms(["nginx", "openssl"]);
  if (missing !== undefined) return t.skip(missing);
  const folder = makeFolder(t);
  const { certificate, key } = await makeCertificate(folder);
  const server = await startServer({ flags: ["--allowed-hosts", HOST, "--trusted-proxies", "127.0.0.1"] });
  t.after(() => server.stop());
  assert.equal((await post(server, "/functions", SHOW_HEADERS)).status, 201);

  const port = await freePort();
  const site = readFileOfPage("proxy-and-tls.md", "functions.conf")
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("/etc/ssl/functions.pem", certificate)
    .replace("/etc/ssl/functions.key", key)
    .replace("127.0.0.1:8080", `127.0.0.1:${server.port}`);
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  const user = process.getuid?.() === 0 ? "user root;" : "";
  writeFileSync(
    join(folder, "nginx.conf"),
    `${user} daemon off; pid ${folder}/pid; error_log stderr; events {} http { access_log off; ${paths} ${site} }`,
  );
  const nginx = spawn("nginx", ["-e", "stderr", "-p", folder, "-c", join(folder, "nginx.conf")], { stdio: "ignore" });
  t.after(() => nginx.kill());

  const answer = await waitFor("nginx to answer", () => get("/show", port, certificate).catch(() => undefined));
  assert.deepEqual(answer.status, 200, answer.text);
  assert.deepEqual(JSON.parse(answer.text), { proto: "https", host: HOST, from: "127.0.0.1, 127.0.0.1" });
  for (const path of ["/api/v1/functions", "/metrics", "/docs", "/openapi.json", "/ready", "/%61pi/v1/functions", "//api/v1/functions"]) {
    assert.equal((await get(path, port, certificate)).status, 403, path);
  }
  assert.equal((await get("/show/../api/v1/functions", port, certificate)).status, 403);
});

test("TLS: the server speaks it by itself", async (t) => {
  const missing = explainMissingPrograms(["openssl"]);
  if (missing !== undefined) return t.skip(missing);
  const { certificate, key } = await makeCertificate(makeFolder(t));
  const server = await startServer({ flags: ["--tls-cert", certificate, "--tls-key", key, "--allowed-hosts", HOST] });
  t.after(() => server.stop());
  assert.equal((await get("/health", server.port, certificate)).text, '{"status":"healthy"}');
});

test("service: the page's unit is one that systemd takes", async (t) => {
  const missing = explainMissingPrograms(["systemd-analyze"]);
  if (missing !== undefined) return t.skip(missing);
  const folder = makeFolder(t);
  const unit = join(folder, "kube-serverless.service");
  // What is not here: the user, and the folder.
  const here = (text: string): string => text.replace("User=kube-serverless\n", "").replaceAll("/opt/kube-serverless", projectFolder);
  writeFileSync(unit, here(readFileOfPage("run-as-a-service.md", "kube-serverless.service")));
  const { stderr } = await run("systemd-analyze", ["verify", "--man=no", unit], {
    env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` },
  });
  const about = stderr.split("\n").filter((line) => line.includes("kube-serverless.service"));
  assert.deepEqual(about, []);
});

test("backup: a copy of a stopped server's folder, without its caches, is the server again", async (t) => {
  const folder = makeFolder(t);
  const dataFolder = join(folder, "data");
  const server = await startServer({ dataFolder });
  assert.equal((await post(server, "/functions", SHOW_HEADERS)).status, 201);
  const worker = {
    name: "worker",
    runtime: "nodejs18",
    handler: "index.handler",
    code: "exports.handler = async () => { throw new Error('later'); };",
    triggers: [{ type: "queue", config: { queue: "jobs", maxAttempts: 100 } }],
  };
  assert.equal((await post(server, "/functions", worker)).status, 201);
  assert.equal((await post(server, "/queues/jobs/messages", { n: 1 })).status, 202);
  await post(server, "/functions/show/invoke", {});
  assert.equal((await server.stop()).code, 0);

  const restored = join(folder, "restored");
  cpSync(dataFolder, restored, { recursive: true, filter: (path) => !/data\/(go|python)$/.test(path) });
  const again = await startServer({ dataFolder: restored });
  t.after(() => again.stop());
  const get = async (path: string): Promise<Record<string, unknown>> => (await (await fetch(again.api + path)).json()) as never;
  assert.equal((await post(again, "/functions/show/invoke", {})).status, 200);
  assert.equal((await get("/functions/show/metrics"))["invocations"], 2);
  const { ready, unacked } = (await get("/queues/jobs")) as { ready: number; unacked: number };
  assert.equal(ready + unacked, 1);
});
