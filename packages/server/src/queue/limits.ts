import { KsError } from "@kube-serverless/contracts/error";
import type { QueueMessage } from "./port.ts";

/** AMQP 0-9-1 sends these as short strings; the embedded queue keeps the same limits, so that a move between the two breaks nothing. */
const MAX_SHORT_STRING_BYTES = 255;

/** False for a name that no queue can have. */
export function isQueueName(queue: string): boolean {
  return queue !== "" && Buffer.byteLength(queue) <= MAX_SHORT_STRING_BYTES;
}

/** @throws KsError `QUEUE_NOT_FOUND`, `BAD_REQUEST` for what no broker can take. */
export function checkPublication(queue: string, message: QueueMessage): void {
  if (!isQueueName(queue)) throw new KsError("QUEUE_NOT_FOUND", { message: `Queue not found: ${queue}` });
  checkShort("message id", message.messageId);
  checkShort("content type", message.contentType ?? "");
  for (const name of Object.keys(message.headers)) checkShort("header name", name);
}

function checkShort(what: string, value: string): void {
  if (Buffer.byteLength(value) <= MAX_SHORT_STRING_BYTES) return;
  throw new KsError("BAD_REQUEST", {
    message: `The ${what} of a queue message may have ${MAX_SHORT_STRING_BYTES} bytes at most: shorten it`,
  });
}
