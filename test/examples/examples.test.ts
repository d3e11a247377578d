import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { projectFolder, startServer, type TestServer, waitFor } from "../support/server.ts";
import { explainMissing } from "./support/missing.ts";

const LANGUAGES = ["nodejs", "python", "go"] as const;
/** Go's standard library is compiled at the first start. */
const DEPLOY_LIMIT_MS = 100_000;

let server: TestServer;
before(async () => {
  server = await startServer();
});
after(() => server.stop());

/** As the README says: the folder's function, by the script beside it. */
async function deploy(example: string, language: string, url = server.url): Promise<string> {
  const script = join(projectFolder, "examples/deploy.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script, join(projectFolder, "examples", example, language), url], {
    timeout: DEPLOY_LIMIT_MS,
  });
  return stdout;
}

async function isMissing(t: TestContext, language: string): Promise<boolean> {
  const reason = await explainMissing(server, [language]);
  if (reason !== undefined) t.skip(reason);
  return reason !== undefined;
}

async function call(path: string, init: RequestInit): Promise<{ status: number; body: unknown }> {
  const response = await fetch(server.url + path, { method: "POST", ...init });
  return { status: response.status, body: await response.json() };
}

/** A line of the function's log that holds `text`. */
function waitForLine(name: string, text: string, url = server.url): Promise<string> {
  return waitFor(`'${text}' in the log of ${name}`, async () => {
    const lines = (await (await fetch(`${url}/api/v1/functions/${name}/logs`)).json()) as { message: string }[];
    return lines.find(({ message }) => message.includes(text))?.message;
  });
}

for (const language of LANGUAGES) {
  describe(language, () => {
    test("webhook: takes what is signed, refuses the rest", async (t) => {
      if (await isMissing(t, language)) return;
      assert.equal(await deploy("webhook", language), `webhook-${language} is running\n`);
      const body = '{ "ref": "refs/heads/main",  "repository": {"full_name": "ada/engine"}, "commits": [{"id": "1"}, {"id": "2"}] }';
      const sign = (secret: string): string => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
      const post = (headers: Record<string, string>, sent = body) =>
        call(`/webhooks/${language}`, {
          headers: { "Content-Type": "application/json", "X-GitHub-Event": "push", ...headers },
          body: sent,
        });

      const refused = { status: 401, body: { error: "The signature is missing or wrong" } };
      assert.deepEqual(await post({}), refused);
      assert.deepEqual(await post({ "X-Hub-Signature-256": sign("another") }), refused);
      // As many characters as a right one, but more bytes.
      assert.deepEqual(await post({ "X-Hub-Signature-256": `sha256=${"é".repeat(64)}` }), refused);
      assert.deepEqual(await post({ "X-Hub-Signature-256": sign("change-me") }, body.replace("ada", "eve")), refused);
      const accepted = await post({ "X-Hub-Signature-256": sign("change-me") });
      assert.deepEqual(accepted, { status: 202, body: { accepted: "push", commits: 2 } });
      assert.equal(await waitForLine(`webhook-${language}`, "push to"), "push to ada/engine refs/heads/main: 2 commits");
    });

    test("csv: describes columns, gives rows, refuses what is no CSV", async (t) => {
      if (await isMissing(t, language)) return;
      await deploy("csv", language);
      const post = (body: string, query = "") => call(`/csv/${language}${query}`, { headers: { "Content-Type": "text/csv" }, body });
      const file = 'city,price\r\n"Köln, Süd",1.5\r\nUtrecht,2\r\n"say ""hi""",4\r\n';

      assert.deepEqual(await post(file), {
        status: 200,
        body: { rows: 3, columns: { city: { type: "text", distinct: 3 }, price: { type: "number", min: 1.5, max: 4, mean: 2.5 } } },
      });
      assert.deepEqual(await post(file, "?as=rows"), {
        status: 200,
        body: [
          { city: "Köln, Süd", price: "1.5" },
          { city: "Utrecht", price: "2" },
          { city: 'say "hi"', price: "4" },
        ],
      });
      assert.equal((await post("a,b\n1,2,3\n")).status, 400);
      assert.equal((await post('a,b\n"1,2\n')).status, 400);
      assert.deepEqual(await post(""), { status: 400, body: { error: "Send a CSV file with Content-Type: text/csv" } });
    });

    test("queue worker: works off orders, and puts aside what is none", async (t) => {
      if (await isMissing(t, language)) return;
      await deploy("queue-worker", language);
      const queue = `/api/v1/queues/orders-${language}`;
      const publish = (body: unknown) =>
        call(`${queue}/messages`, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      const lines = [
        { pieces: 2, cents: 450 },
        { pieces: 1, cents: 1999 },
      ];
      assert.equal((await publish({ id: "A-17", lines })).status, 202);
      assert.equal(await waitForLine(`worker-${language}`, "order A-17"), "order A-17: 2 lines, 28.99");

      assert.equal((await publish({ id: "A-18" })).status, 202);
      const emptied = await waitFor("the message to be dead", async () => {
        const state = (await (await fetch(server.url + queue)).json()) as { ready: number; unacked: number; dead: number };
        return state.dead === 1 ? state : undefined;
      });
      assert.deepEqual({ ready: emptied.ready, unacked: emptied.unacked }, { ready: 0, unacked: 0 });
    });
  });
}

describe("report", () => {
  const asked: string[] = [];
  const orders = createServer((request, response) => {
    asked.push(request.url!);
    response.setHeader("Content-Type", "application/json");
    response.end('[{"product": "map", "pieces": 1, "cents": 1250}, {"product": "pen", "pieces": 4, "cents": 800}]');
  });
  let open: TestServer;
  before(async () => {
    orders.listen(0, "127.0.0.1");
    // Functions reach this machine's loopback only where they share its network.
    [open] = await Promise.all([startServer({ flags: ["--sandbox-network", "host"] }), once(orders, "listening")]);
  });
  after(async () => {
    orders.close();
    await open.stop();
  });

  for (const language of LANGUAGES) {
    test(`${language}: reports on the day before, from its samples when invoked by hand`, async (t) => {
      if (await isMissing(t, language)) return;
      await deploy("report", language);
      const { body } = await call(`/api/v1/functions/report-${language}/invoke`, {
        headers: { "Content-Type": "application/json" },
        body: '{"timezone": "UTC", "currency": "USD"}',
      });
      const { day, ...rest } = (body as { body: { day: string } }).body;
      assert.deepEqual(rest, { orders: 3, cents: 3150, best: "tea", currency: "USD" });
      assert.ok(Math.abs(Date.parse(day) + 24 * 3_600_000 - Date.now()) <= 25 * 3_600_000, day);
      assert.match(await waitForLine(`report-${language}`, "report of"), /: 3 orders, 31\.50 USD, most sold: tea$/);
    });

    test(`${language}: runs by its schedule and asks for the orders of the day before in its zone`, async (t) => {
      if (await isMissing(t, language)) return;
      await deploy("report", language, open.url);
      const url = `${open.url}/api/v1/functions/report-${language}`;
      const spec = (await (await fetch(url)).json()) as { triggers: { config: Record<string, unknown> }[]; environment: object };
      spec.triggers[0]!.config["schedule"] = "* * * * * *";
      // A zone that is a day ahead of others for most of the time.
      spec.triggers[0]!.config["body"] = { timezone: "Pacific/Kiritimati", currency: "EUR" };
      spec.environment = { ORDERS_URL: `http://127.0.0.1:${(orders.address() as AddressInfo).port}/${language}` };
      const put = await fetch(url, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(spec) });
      assert.equal(put.status, 200, await put.text());

      const line = await waitForLine(`report-${language}`, "2 orders", open.url);
      const day = /^report of (\d{4}-\d\d-\d\d): 2 orders, 20\.50 EUR, most sold: pen$/.exec(line)?.[1];
      assert.ok(day, line);
      assert.ok(asked.includes(`/${language}?day=${day}`), asked.join(" "));
      const aheadMs = 14 * 3_600_000;
      const days = [0, 60_000].map((agoMs) => new Date(Date.now() + aheadMs - agoMs - 24 * 3_600_000).toISOString().slice(0, 10));
      assert.ok(days.includes(day), `${day} is not yesterday on Kiritimati`);
      assert.equal((await fetch(url, { method: "DELETE" })).status, 204);
    });
  }
});
