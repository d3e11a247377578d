import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import type { BodyHold } from "./body-budget.ts";
import { readBody } from "./read-body.ts";

/** A request whose body the test writes. */
function requestOf(headers: Record<string, string>): IncomingMessage & PassThrough {
  return Object.assign(new PassThrough(), { headers }) as unknown as IncomingMessage & PassThrough;
}

const room: BodyHold = { take: () => undefined };
const CHUNKED = { "transfer-encoding": "chunked" };

describe("readBody", () => {
  test("gives up a body that makes no progress for 60 s", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const body = readBody(requestOf(CHUNKED), 100, room);
    const errors: KsError[] = [];
    body.catch((error: KsError) => errors.push(error));
    // The wait begins once it is clear that the body did not come with its head.
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(59_999);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(errors.length, 0);
    t.mock.timers.tick(1);
    await assert.rejects(body);
    assert.equal(errors[0]?.status, 408);
    assert.match(errors[0]?.message ?? "", /60 s/);
  });

  test("collects a body up to its limit, and refuses it as soon as it is passed", async () => {
    const fitting = requestOf(CHUNKED);
    fitting.write("abc");
    fitting.end("de");
    const { chunks, bytes } = await readBody(fitting, 5, room);
    assert.deepEqual([Buffer.concat(chunks).toString(), bytes], ["abcde", 5]);
    const passing = requestOf(CHUNKED);
    passing.write("abcdef");
    await assert.rejects(readBody(passing, 5, room), (error: KsError) => error.code === "BODY_TOO_LARGE" && /5 bytes/.test(error.message));
  });

  test("refuses by the head alone what says that it is too long, and reads nothing where no body follows", async () => {
    await assert.rejects(readBody(requestOf({ "content-length": "6" }), 5, room), (error: KsError) =>
      /limit is 5 bytes, it has 6/.test(error.message),
    );
    assert.deepEqual(await readBody(requestOf({ "content-length": "0" }), 5, room), { chunks: [], bytes: 0 });
    assert.deepEqual(await readBody(requestOf({}), 5, room), { chunks: [], bytes: 0 });
  });

  test("tells a caller that goes away from one that has ended", async () => {
    const request = requestOf({ "content-length": "5" });
    const body = readBody(request, 5, room);
    request.destroy();
    await once(request, "close");
    await assert.rejects(body, (error: KsError) => error.code === "CLIENT_CLOSED");
  });
});
