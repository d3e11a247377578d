import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import { BodyBudget } from "./body-budget.ts";
import { readBody } from "./read-body.ts";

/** A server that answers with the code of what went wrong, holding each body until the answer has left. */
async function setUp(t: { after(fn: () => void): void }, maxBytes: number) {
  const budget = new BodyBudget(maxBytes);
  const answers: (() => void)[] = [];
  const server = createServer((req, res) => {
    readBody(req, 1000, budget.hold(res)).then(
      ({ bytes }) => answers.push(() => res.end(String(bytes))),
      (error: KsError) => res.end(error.code),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const post = (bytes: number, headers: Record<string, string> = { "Content-Length": String(bytes) }): Promise<string> =>
    new Promise((resolve, reject) => {
      const req = request({ port, host: "127.0.0.1", method: "POST", headers, agent: false }, (res) => {
        let text = "";
        res.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => resolve(text));
      });
      req.on("error", reject).end(Buffer.alloc(bytes));
    });
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve));
  };
  return { budget, answers, post, until };
}

test("refuses what does not fit beside the bodies that are held, and takes it once they are answered", { timeout: 10_000 }, async (t) => {
  const { budget, answers, post, until } = await setUp(t, 1500);
  const first = post(900);
  await until(() => answers.length === 1);
  assert.equal(budget.usedBytes, 900);
  assert.equal(await post(700), "OVERLOADED");
  answers[0]!();
  assert.equal(await first, "900");
  await until(() => budget.usedBytes === 0);
  const second = post(700);
  await until(() => answers.length === 2);
  answers[1]!();
  assert.equal(await second, "700");
});

test("counts what was not announced as it comes", { timeout: 10_000 }, async (t) => {
  const { budget, post, until } = await setUp(t, 500);
  assert.equal(await post(900, { "Transfer-Encoding": "chunked" }), "OVERLOADED");
  await until(() => budget.usedBytes === 0);
});
