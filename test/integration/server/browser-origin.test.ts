import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { type Browser, chromium } from "playwright-core";
import { startServer } from "../../support/server.ts";
import { Client } from "./support/client.ts";

const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "Chromium is not installed: apt install chromium";

/** Newer browsers keep pages from loopback by themselves; others must not need that. */
const OWN_DEFENCES_OFF =
  "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights";

/** All that a page may do without being asked, at an address; resolves with what it could read of the answers. */
const ATTACK = `async (base) => {
  const read = [];
  const ask = async (path, options) => {
    try {
      const response = await fetch(base + path, { credentials: "include", ...options });
      if (response.type !== "opaque") read.push(path + " " + response.status + " " + (await response.text()));
    } catch {}
  };
  const spec = JSON.stringify({ name: "planted", runtime: "nodejs18", handler: "index.handler", code: "exports.handler = () => 1;" });
  const simple = { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" } };
  await ask("/api/v1/functions", { ...simple, body: spec });
  await ask("/api/v1/functions", { method: "POST", headers: { "Content-Type": "application/json" }, body: spec });
  await ask("/api/v1/functions/counter/invoke", { ...simple, body: "{}" });
  await ask("/api/v1/queues/work/messages", { ...simple, body: "x" });
  await ask("/api/v1/functions/counter", { method: "DELETE" });
  await ask("/fn/counter", { ...simple, body: "x" });
  await ask("/fn/counter");
  await ask("/api/v1/functions");
  await ask("/metrics");
  await new Promise((resolve) => { const image = new Image(); image.onload = image.onerror = resolve; image.src = base + "/fn/counter?by=image"; });
  const frame = document.createElement("iframe");
  frame.name = "target";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", enctype: "text/plain", action: base + "/fn/counter", target: "target" });
  document.body.append(form);
  const loaded = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000); });
  form.submit();
  await loaded;
  return read;
}`;

/** A page of somebody else's, at an address of its own. */
async function servePage(t: TestContext): Promise<number> {
  const server = createServer((_request, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><body>"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

async function openBrowser(t: TestContext, args: readonly string[] = []): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", OWN_DEFENCES_OFF, ...args] });
  t.after(() => browser.close());
  return browser;
}

test("a page of another origin in a real browser reaches nothing", { skip, timeout: 120_000 }, async (t) => {
  const server = await startServer({ flags: ["--pool-size", "0"] });
  t.after(() => server.stop());
  const client = new Client(server);
  const triggers = [{ type: "queue", config: { queue: "work", exchange: "jobs" } }];
  await client.deploy({ name: "counter", code: "let n = 0; exports.handler = () => ({ n: ++n });", triggers });
  const pagePort = await servePage(t);
  const browser = await openBrowser(t, ["--host-resolver-rules=MAP evil.example 127.0.0.1"]);
  const page = await browser.newPage();
  await page.goto(`http://evil.example:${pagePort}/`);
  for (const base of [server.url, `http://localhost:${server.port}`]) {
    assert.deepEqual(await page.evaluate(`(${ATTACK})(${JSON.stringify(base)})`), [], `read of ${base}`);
  }
  const { json: listed } = await client.get("/functions");
  assert.deepEqual(
    listed.map(({ name }: { name: string }) => name),
    ["counter"],
  );
  assert.equal((await client.invoke("counter")).json.body.n, 1, "a page has called it");
  assert.equal((await client.queue("work")).ready, 0);
});

test("a page by a name that leads here, as rebinding makes it, reaches nothing in a real browser", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const server = await startServer({ flags: ["--pool-size", "0"] });
  t.after(() => server.stop());
  const client = new Client(server);
  await client.deploy({ name: "counter", code: "let n = 0; exports.handler = () => ({ n: ++n });" });
  const browser = await openBrowser(t, ["--host-resolver-rules=MAP rebound.example 127.0.0.1"]);
  const page = await browser.newPage();
  const answer = await page.goto(`http://rebound.example:${server.port}/api/v1/functions`);
  assert.equal(answer?.status(), 403);
  const read = await page.evaluate<string[]>(`(${ATTACK})(${JSON.stringify(`http://rebound.example:${server.port}`)})`);
  // It is the same origin to the browser, so it may read; what it reads are refusals alone.
  for (const line of read) assert.match(line, / 403 /);
  assert.equal((await client.invoke("counter")).json.body.n, 1, "a page has called it");
});
