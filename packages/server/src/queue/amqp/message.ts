import { randomUUID } from "node:crypto";
import type { ConsumeMessage, Options } from "amqplib";
import type { QueueMessage } from "../port.ts";

/** Headers in which a copy of a message carries on the count that ended with the original. */
const FAILURES = "x-ks-failures";
const FIRST_FAILED_AT = "x-ks-first-failed-at";

/** Differs in everything we publish, copies included: tells a message that comes again from its like. A `messageId` is the sender's, who may use it twice. */
export const PUBLICATION = "x-ks-publication";

/** What RabbitMQ adds by itself and what belongs to us: not the sender's, so neither shown nor copied. */
const BOOKKEEPING = new RegExp(
  `^(${FAILURES}|${FIRST_FAILED_AT}|${PUBLICATION}|x-delivery-count|x-acquired-count|x-death|x-(first|last)-death-.*)$`,
);

/** Sender-selected distribution: in a copy it would send the message to those other queues once more. */
const ROUTING = new Set(["CC", "BCC"]);

export interface ReceivedMessage {
  message: QueueMessage;
  /** Undefined for what another program published. */
  publication: string | undefined;
  attempt: number;
  redelivered: boolean;
  firstFailedAtMs: number | undefined;
}

export type PublishProperties = Options.Publish & { messageId: string };

/** Properties of a message that is published for the first time. */
export function buildProperties(message: QueueMessage): PublishProperties {
  const properties: PublishProperties = { messageId: message.messageId, headers: { ...message.headers } };
  if (message.contentType !== undefined) properties.contentType = message.contentType;
  return properties;
}

/** Reads a delivery; one that came without an id gets a random one, which its copies keep. */
export function readMessage(received: ConsumeMessage): ReceivedMessage {
  const { properties, fields } = received;
  const table: Record<string, unknown> = properties.headers ?? {};
  const failures = readCount(table[FAILURES]);
  const firstFailedAtMs = table[FIRST_FAILED_AT];
  const contentType: unknown = properties.contentType;
  const message: QueueMessage = {
    messageId: readId(properties.messageId) ?? randomUUID(),
    body: received.content,
    headers: readHeaders(table, properties.contentEncoding),
  };
  if (typeof contentType === "string" && contentType !== "") message.contentType = contentType;
  return {
    message,
    publication: readId(table[PUBLICATION]),
    attempt: readCount(table["x-delivery-count"]) + failures + 1,
    redelivered: fields.redelivered || table[FAILURES] !== undefined,
    firstFailedAtMs: typeof firstFailedAtMs === "number" ? firstFailedAtMs : undefined,
  };
}

/** Properties of the copy that replaces a delivery: in a retry queue after a failure, in its own queue when it is released. */
export function buildCopyProperties(
  received: ConsumeMessage,
  messageId: string,
  count: { failures: number; firstFailedAtMs: number | undefined },
): PublishProperties {
  const headers = keptHeaders(received);
  headers[FAILURES] = count.failures;
  if (count.firstFailedAtMs !== undefined) headers[FIRST_FAILED_AT] = count.firstFailedAtMs;
  return { ...keptProperties(received), messageId, headers };
}

/** Properties of a dead letter, whose attempts begin anew for whoever consumes it. */
export function buildDeadProperties(received: ConsumeMessage, messageId: string, deadHeaders: Record<string, string>): PublishProperties {
  return { ...keptProperties(received), messageId, headers: { ...keptHeaders(received), ...deadHeaders } };
}

function keptHeaders(received: ConsumeMessage): Record<string, unknown> {
  const headers: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(received.properties.headers ?? {})) {
    if (!BOOKKEEPING.test(name) && !ROUTING.has(name)) headers[name] = value;
  }
  return headers;
}

/** All but `expiration`, which would end the copy's wait early, and `userId`, which has to be the connection's own. */
function keptProperties(received: ConsumeMessage): Options.Publish {
  const { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId } = received.properties;
  const kept = { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId };
  return Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
}

function readHeaders(table: Record<string, unknown>, contentEncoding: unknown): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(table)) {
    if (!BOOKKEEPING.test(name)) headers[name] = readHeaderValue(value);
  }
  if (typeof contentEncoding === "string" && contentEncoding !== "") headers["content-encoding"] = contentEncoding;
  return headers;
}

function readHeaderValue(value: unknown): string {
  if (typeof value === "string") return value;
  if (Buffer.isBuffer(value)) return value.toString("base64");
  return JSON.stringify(value) ?? "";
}

function readId(id: unknown): string | undefined {
  return typeof id === "string" && id !== "" ? id : undefined;
}

function readCount(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;
}
