import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { startServer, type TestServer, waitFor } from "../../support/server.ts";
import { GOS } from "../runtimes/gos.ts";
import { PYTHONS } from "../runtimes/pythons.ts";
import { type Answer, Client, type FunctionBody } from "./support/client.ts";
import { FORGED, FORGERIES, type Forgery, GREEDY_HEAD, GREEDY_PIECES } from "./support/forged-frames.ts";

const NODEJS = `const fs = require("node:fs");
exports.handler = async ({ body }) => {
  const bytes = Buffer.from(body.frame ?? "", "base64");
  for (let count = 0; count < (body.times ?? 0); count++) {
    for (let at = 0; at < bytes.length; ) {
      try { at += fs.writeSync(3, bytes, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
    }
  }
  return "fine";
};`;
const PYTHON = `import base64, os
def handler(event):
    data = base64.b64decode(event["body"].get("frame", ""))
    for _ in range(event["body"].get("times", 0)):
        at = 0
        while at < len(data):
            try: at += os.write(3, data[at:])
            except BlockingIOError: pass
    return "fine"
`;
const GO = `package main

import (
	"encoding/base64"
	"syscall"
)

type request struct {
	Body struct {
		Frame string
		Times int
	}
}

func Handler(e request) (any, error) {
	data, _ := base64.StdEncoding.DecodeString(e.Body.Frame)
	for count := 0; count < e.Body.Times; count++ {
		for at := 0; at < len(data); {
			n, err := syscall.Write(3, data[at:])
			if n > 0 {
				at += n
			} else if err != nil && err != syscall.EAGAIN {
				return nil, err
			}
		}
	}
	return "fine", nil
}
`;

const ATTACKERS: { body: FunctionBody; skip: string | false }[] = [
  { body: { name: "in-nodejs", runtime: "nodejs18", code: NODEJS }, skip: false },
  { body: { name: "in-python", runtime: "python39", code: PYTHON }, skip: PYTHONS[0]?.missing ?? false },
  { body: { name: "in-go", runtime: "go119", code: GO }, skip: GOS[0]?.missing ?? false },
];
/** The function's own answer, an answer that it forged, or one of the platform's that say what became of it. */
const ALLOWED: ReadonlySet<string | undefined> = new Set(["FUNCTION_ERROR", "FUNCTION_CRASHED", "TIMEOUT", "OVERLOADED", undefined]);
/** A young generation and what waits for its collection; what is kept of all forgeries together would be more. */
const MOST_GROWTH_KIB = 256 * 1024;

describe("a replica that forges frames harms nobody else", () => {
  let server: TestServer;
  let client: Client;
  before(async () => {
    server = await startServer({ flags: ["--pool-size", "0", "--pool", "nodejs18=1"] });
    client = new Client(server);
    await client.deploy({ name: "bystander", code: "exports.handler = async ({ body }) => body;", minReplicas: 1 });
  });
  after(async () => {
    assert.equal((await server.stop()).code, 0);
  });

  for (const { body, skip } of ATTACKERS) {
    test(body.name, { skip, timeout: 300_000 }, async (t) => {
      await client.deploy({ ...body, timeout: 3, maxReplicas: 2 });
      const memoryBefore = readResidentKib(server);
      for (const forgery of FORGERIES) await t.test(forgery.name, () => attack(body.name, forgery));
      assert.ok(readResidentKib(server) - memoryBefore < MOST_GROWTH_KIB, "the server's memory grew");
    });
  }

  test("one that sends more than its credit is cut off, and with it the calls that it holds", async (t) => {
    // What is sent is bounded: without credit's limit it would all be kept for a caller that reads nothing.
    const code = `const fs = require("node:fs");
const write = (text) => {
  const bytes = Buffer.from(text, "base64");
  for (let at = 0; at < bytes.length; ) try { at += fs.writeSync(3, bytes, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
};
let begin;
const begun = new Promise((resolve) => (begin = resolve));
exports.handler = async ({ path }) => {
  if (path !== "/greedy") { begin(); return new Promise(() => {}); }
  await begun;
  write("${GREEDY_HEAD.toString("base64")}");
  for (let count = 0; count < 256; count++) write("${GREEDY_PIECES.toString("base64")}");
  return "not reached";
};`;
    await client.deploy({ name: "greedy", code, maxReplicas: 1, timeout: 20 });
    const reader = connect(server.port, "127.0.0.1");
    t.after(() => reader.destroy());
    reader.on("error", () => undefined).pause();
    reader.write("GET /fn/greedy/greedy HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await waitFor("the first call to be in", async () => (await client.get("/functions/greedy/scaling")).json.inFlight === 1);
    const memoryBefore = readResidentKib(server);
    const held = client.invoke("greedy");
    const beside = client.invoke("bystander", { fine: true });
    const { status, json, text } = await held;
    assert.deepEqual([status, json?.code], [502, "FUNCTION_CRASHED"], text);
    assert.match(text, /The function broke the connection to the platform \(stream 1 sent more than its credit\)/);
    assert.ok(readResidentKib(server) - memoryBefore < 32 * 1024, "what was sent beyond is not kept");
    assertFine(await beside);
    assertFine(await client.invoke("bystander", { fine: true }));
  });

  async function attack(name: string, { bytes, times = 1, breaks }: Forgery): Promise<void> {
    const forging = client.invoke(name, { frame: bytes.toString("base64"), times });
    const beside = client.invoke("bystander", { fine: true });
    const answer = await forging;
    assert.ok(answer.status === 200 || ALLOWED.has(answer.json?.code), `${answer.status} ${answer.text.slice(0, 300)}`);
    if (breaks === true) assert.match(answer.text, /The function broke the connection to the platform/);
    assert.equal(answer.headers.get(`x-${FORGED}`), null);
    assert.notEqual(answer.headers.get("x-request-id"), FORGED);
    assertFine(await beside);
    assertFine(await client.invoke("bystander", { fine: true }));
    await assertServesOn(name);
    assert.doesNotMatch((await client.get("/functions/bystander/logs")).text, new RegExp(FORGED));
    assert.equal((await client.get("/ready")).status, 200);
    assert.deepEqual(
      server.log.filter(({ level }) => level >= 50),
      [],
    );
  }

  /** A forged replica may answer wrongly for as long as it lives; the function gets another when it has been found out. */
  async function assertServesOn(name: string): Promise<void> {
    const { status, json, text } = await client.invoke(name, {});
    const isOwn = status === 200 || ALLOWED.has(json?.code);
    assert.ok(isOwn, `${status} ${text.slice(0, 300)}`);
    for (let call = 0; call < 20; call++) {
      if ((await client.invoke(name, {})).json?.body === "fine") return;
    }
    assert.fail(`${name} answers no more`);
  }
});

function assertFine({ status, json, text }: Answer): void {
  assert.deepEqual([status, json?.body], [200, { fine: true }], text);
}

function readResidentKib({ child }: TestServer): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]);
}
