import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, test } from "node:test";
import { chromium } from "playwright-core";
import { checkExamples } from "./support/openapi-examples.ts";
import { openPlatform, uniqueName } from "./support/platform.ts";

const platform = await openPlatform();

const CHROMIUM = "/usr/bin/chromium";
const missingChromium = existsSync(CHROMIUM) ? false : "Chromium is not installed: apt install chromium";

const CODE = { code: "exports.handler = () => 1;" };

describe("the list of functions", () => {
  test("is sorted by name, without code", async () => {
    for (const label of ["zz", "aa", "mm"]) await platform.create({ ...CODE, name: uniqueName(label) });
    const { json } = await platform.get("/functions");
    const names = (json as { name: string }[]).map(({ name }) => name);
    assert.deepEqual(names, [...names].sort());
    for (const entry of json) {
      assert.equal("code" in entry, false);
      assert.ok(["deploying", "running", "failed", "deleting"].includes(entry.status.state));
    }
  });

  test("comes in pages, each leading to the next, whatever comes and goes meanwhile", async () => {
    const label = uniqueName("page").slice(0, 40);
    const mine = Array.from({ length: 5 }, (_, i) => `${label}-${i}`);
    for (const name of mine) await platform.create({ ...CODE, name });
    const seen: string[] = [];
    let path: string | undefined = "/api/v1/functions?limit=2";
    for (let page = 0; path !== undefined && page < 500; page++) {
      const answer = await platform.send({ path });
      assert.equal(answer.status, 200);
      const names = (answer.json as { name: string }[]).map(({ name }) => name);
      assert.ok(names.length <= 2);
      seen.push(...names);
      if (names.includes(mine[1] ?? "")) await platform.delete(mine[1] ?? "");
      path = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers["link"] ?? ""))?.[1];
    }
    assert.deepEqual(
      seen.filter((name) => name.startsWith(label)),
      mine,
    );
    assert.equal(new Set(seen).size, seen.length);
    assert.equal((await platform.get("/functions?limit=1000")).headers["link"], undefined);
  });
});

describe("/health and /ready", () => {
  test("answer at the root and under the API, by GET and HEAD", async () => {
    for (const prefix of ["", "/api/v1"]) {
      for (const [path, status] of [
        ["/health", "healthy"],
        ["/ready", "ready"],
      ]) {
        const answer = await platform.send({ path: `${prefix}${path}` });
        assert.deepEqual([answer.status, answer.json.status], [200, status]);
        assert.match(String(answer.headers["content-type"]), /^application\/json/);
        assert.equal((await platform.send({ method: "HEAD", path: `${prefix}${path}` })).status, 200);
      }
    }
  });

  test("name what is weaker than it should be, as a list", async () => {
    const { degraded } = (await platform.send({ path: "/ready" })).json;
    assert.ok(degraded === undefined || (Array.isArray(degraded) && degraded.every((entry) => typeof entry === "string")));
  });
});

describe("/openapi.json", () => {
  test("describes every documented route in OpenAPI 3.1", async () => {
    const { status, headers, json } = await platform.send({ path: "/openapi.json" });
    assert.equal(status, 200);
    assert.match(String(headers["content-type"]), /^application\/json/);
    assert.match(json.openapi, /^3\.1\./);
    const routes = Object.entries(json.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    for (const route of [
      "GET /functions",
      "POST /functions",
      "GET /functions/{name}",
      "PUT /functions/{name}",
      "DELETE /functions/{name}",
      "POST /functions/{name}/invoke",
      "GET /functions/{name}/metrics",
      "GET /functions/{name}/logs",
      "GET /functions/{name}/scaling",
      "GET /functions/{name}/cron",
      "GET /runtimes",
      "GET /health",
      "GET /ready",
    ]) {
      const [method, path = ""] = route.split(" ");
      assert.ok(
        routes.some((known) => known === `${method} /api/v1${path}` || known === route),
        `${route} in ${routes.join(", ")}`,
      );
    }
  });

  test("has examples of every body that is taken or answered, each what its schema says", async () => {
    const { json } = await platform.send({ path: "/openapi.json" });
    assert.ok(checkExamples(json) > 60);
  });

  test("calls no two operations the same", async () => {
    const { json } = await platform.send({ path: "/openapi.json" });
    const summaries = Object.values(json.paths as Record<string, Record<string, { summary: string }>>).flatMap((operations) =>
      Object.values(operations).map(({ summary }) => summary),
    );
    assert.deepEqual(
      summaries.filter((summary, index) => summaries.indexOf(summary) !== index),
      [],
    );
  });

  test("has an example that deploys as it stands", async () => {
    const { json } = await platform.send({ path: "/openapi.json" });
    const path = Object.keys(json.paths).find((known) => known.endsWith("/functions")) ?? "";
    const { examples = {}, example } = json.paths[path].post.requestBody.content["application/json"];
    const values = [example, ...Object.values(examples as Record<string, { value: object }>).map(({ value }) => value)].filter(
      (value) => value !== undefined,
    );
    assert.ok(values.length > 0);
    for (const value of values) {
      const name = await platform.deploy({ ...(value as { code: string }), name: uniqueName("example"), triggers: [] });
      assert.equal((await platform.invoke(name, {})).status, 200, JSON.stringify(value));
    }
  });
});

describe("/docs", () => {
  test("is where / leads, unless a function has that path", async () => {
    const root = await platform.send({ path: "/" });
    if (root.status === 200) return;
    assert.deepEqual([root.status, root.headers["location"]], [302, "/docs"]);
    const name = await platform.deploy({ code: "exports.handler = () => 'mine';", triggers: [{ type: "http", config: { path: "/" } }] });
    assert.equal((await platform.send({ path: "/" })).text, "mine");
    await platform.delete(name);
    assert.equal((await platform.send({ path: "/" })).status, 302);
  });

  test("shows itself in a browser and loads nothing from elsewhere", { skip: missingChromium }, async () => {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      const asked: string[] = [];
      const said: string[] = [];
      page.on("request", (request) => asked.push(request.url()));
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(error.message));
      await page.goto(`${platform.url}/docs`);
      await page.locator("a[href^='#']").last().click();
      const { host } = platform;
      assert.deepEqual(
        asked.filter((url) => !url.startsWith("data:") && new URL(url).host !== host),
        [],
      );
      assert.deepEqual(said, []);
      const text = await page.locator("body").innerText();
      for (const part of ["/functions", "/invoke", "/metrics", "X-Cold-Start"]) assert.ok(text.includes(part), part);
      assert.ok(text.includes(`curl -X POST ${platform.url}/api/v1/functions`), "the samples call this platform");
      const elsewhere = await page.evaluate<string[]>(
        '[...document.querySelectorAll("[src], link[href]")].map((one) => one.src || one.href)',
      );
      assert.deepEqual(
        elsewhere.filter((url) => !url.startsWith("data:") && new URL(url).host !== host),
        [],
      );
    } finally {
      await browser.close();
    }
  });
});
