import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { openApiServer } from "../../../packages/server/src/api/testing/open-api-server.ts";

const CHROMIUM = "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : "Chromium is not installed: apt install chromium";

const views = [
  { name: "a desk", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  { name: "a phone at night", viewport: { width: 390, height: 844 }, colorScheme: "dark" },
] as const;

test("the docs page shows itself in a browser without loading or refusing anything", { skip }, async (t) => {
  const api = await openApiServer(t);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  t.after(() => browser.close());
  for (const { name, viewport, colorScheme } of views) {
    const page = await browser.newPage({ viewport, colorScheme });
    const said: string[] = [];
    const asked: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(`${api.url}/`);
    assert.equal(await page.title(), "Kube-Serverless API", name);
    assert.deepEqual(said, [], name);
    assert.deepEqual(
      asked.filter((url) => !url.startsWith("data:")),
      [`${api.url}/`, `${api.url}/docs`],
      name,
    );
    const width = await page.evaluate<number>("document.documentElement.scrollWidth");
    assert.ok(width <= viewport.width, `${name}: ${width} px wide`);
    // The style is applied: the policy knows its hash.
    const font = await page.evaluate<string>("getComputedStyle(document.body).fontFamily");
    assert.match(font, /system-ui/, name);
    const targets = await page.evaluate<string[]>('[...document.querySelectorAll("nav a")].map((link) => link.hash.slice(1))');
    assert.ok(targets.length > 30, name);
    for (const target of targets) {
      assert.equal(await page.locator(`[id="${target}"]`).count(), 1, `${name}: #${target}`);
    }
  }
});
