import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConsumeMessage } from "amqplib";
import { buildCopyProperties, buildDeadProperties, buildProperties, readMessage } from "./message.ts";

function received(properties: Record<string, unknown>, redelivered = false): ConsumeMessage {
  const fields = { deliveryTag: 1, redelivered, exchange: "", routingKey: "orders", consumerTag: "c" };
  return { content: Buffer.from("body"), fields, properties } as unknown as ConsumeMessage;
}

test("a message that we published reads as it was written", () => {
  const message = { messageId: "m1", body: Buffer.from("body"), contentType: "text/plain", headers: { a: "b" } };
  const read = readMessage(received({ ...buildProperties(message) }));
  assert.deepEqual(read, { message, publication: undefined, attempt: 1, redelivered: false, firstFailedAtMs: undefined });
});

test("the attempt is RabbitMQ's count plus that of the copies", () => {
  const attempt = (headers: object): number => readMessage(received({ headers })).attempt;
  assert.equal(attempt({}), 1);
  assert.equal(attempt({ "x-delivery-count": 2 }), 3);
  assert.equal(attempt({ "x-ks-failures": 3 }), 4);
  assert.equal(attempt({ "x-delivery-count": 2, "x-ks-failures": 3 }), 6);
  assert.equal(attempt({ "x-delivery-count": "many", "x-ks-failures": -1 }), 1);
});

test("a copy carries the count on, keeps what is the sender's and drops what would misroute or expire it", () => {
  const original = received({
    messageId: "m1",
    contentType: "application/json",
    correlationId: "c1",
    expiration: "1000",
    userId: "guest",
    headers: {
      tenant: "a",
      CC: ["elsewhere"],
      "x-death": [{}],
      "x-first-death-queue": "q",
      "x-ks-publication": "p1",
      "x-delivery-count": 1,
    },
  });
  const copy = buildCopyProperties(original, "m1", { failures: 2, firstFailedAtMs: 1_700_000_000_000 });
  assert.deepEqual(copy, {
    messageId: "m1",
    contentType: "application/json",
    correlationId: "c1",
    headers: { tenant: "a", "x-ks-failures": 2, "x-ks-first-failed-at": 1_700_000_000_000 },
  });
  const read = readMessage(received({ ...copy }));
  assert.deepEqual([read.attempt, read.redelivered, read.firstFailedAtMs], [3, true, 1_700_000_000_000]);
  assert.deepEqual(read.message.headers, { tenant: "a" });
});

test("a dead letter says why and begins anew", () => {
  const original = received({ headers: { tenant: "a", "x-ks-failures": 4, "x-ks-first-failed-at": 5 } });
  const letter = buildDeadProperties(original, "m1", { "x-dead-reason": "boom" });
  assert.deepEqual(letter, { messageId: "m1", headers: { tenant: "a", "x-dead-reason": "boom" } });
  assert.equal(readMessage(received({ ...letter })).attempt, 1);
});

test("a message without an id gets one of its own", () => {
  const [first, second] = [readMessage(received({})), readMessage(received({}))];
  assert.ok(first.message.messageId.length > 10);
  assert.notEqual(first.message.messageId, second.message.messageId);
});

test("headers of any type become strings", () => {
  const headers = { n: 7, t: true, none: null, list: [1, { a: "b" }], bytes: Buffer.from([1, 2]) };
  const read = readMessage(received({ headers, contentEncoding: "gzip" }));
  assert.deepEqual(read.message.headers, {
    n: "7",
    t: "true",
    none: "null",
    list: '[1,{"a":"b"}]',
    bytes: "AQI=",
    "content-encoding": "gzip",
  });
});
