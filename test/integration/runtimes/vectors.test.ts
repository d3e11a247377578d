import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { encodeFrame, FrameDecoder, MAX_FRAME_LENGTH, parseMeta } from "../../../packages/server/src/protocol/frames.ts";
import { IS_FULL } from "../../support/fault-volume.ts";
import { LANGUAGES, type ShimLanguage } from "./languages.ts";
import { OTHER_PYTHONS } from "./pythons.ts";
import type { Answer, Json, Shim, Specialisation } from "./support.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

interface FrameVectors {
  frames: {
    name: string;
    hex: string;
    frame: { stream: number; kind: number; more: boolean; metaText: string; meta: Json; bodyBase64: string };
  }[];
  malformed: { name: string; hex: string; why: string }[];
  generated: { name: string; kind: number; bodyBytes: number; valid: boolean }[];
}

type PerLanguage<T> = T | Partial<Record<string, T>>;

interface ExpectedError {
  code: string;
  message?: string;
  messageIncludes?: PerLanguage<string>;
  type?: PerLanguage<string>;
  hasStack?: PerLanguage<boolean>;
}

interface ExpectedResponse {
  status: number;
  kind: string;
  headers: string[];
  json?: unknown;
  bodyText?: string;
  bodyBase64?: string;
  bodyBytes?: number;
  streamed?: boolean;
  abort?: { message: string };
}

interface EventVectors {
  specialise: Json & { handlers: Record<string, string>; environment: Record<string, string>; concurrency: number };
  call: Json;
  handlers: Record<"echo" | "identity", Record<string, string>>;
  events: { name: string; call: { meta: Json; bodyBase64: string }; expectedEvent?: Json; expectedError?: ExpectedError }[];
  responses: {
    name: string;
    /** Beside that of `call`. */
    meta?: Json;
    returns: { value: unknown } | { source: Partial<Record<string, string>> };
    expected: ExpectedResponse | { error: ExpectedError };
  }[];
}

const frameVectors = readVectors<FrameVectors>("frames.json");
const eventVectors = readVectors<EventVectors>("events.json");

function readVectors<T>(name: string): T {
  return JSON.parse(readFileSync(`${ROOT}/runtimes/vectors/${name}`, "utf8")) as T;
}

describe("the gateway's codec", () => {
  for (const { name, hex, frame } of frameVectors.frames) {
    test(`reads and writes ${name}`, () => {
      const bytes = Buffer.from(hex, "hex");
      assert.deepEqual(decodeAll(bytes), [frame]);
      assert.equal(
        encodeFrame(frame.stream, frame.kind, frame.more, frame.metaText, Buffer.from(frame.bodyBase64, "base64")).toString("hex"),
        hex,
      );
    });
  }
  test("reads all frames whatever chunks they come in", () => {
    const bytes = Buffer.from(frameVectors.frames.map(({ hex }) => hex).join(""), "hex");
    const expected = frameVectors.frames.map(({ frame }) => frame);
    for (const size of [1, 3, 7, 64, 1000]) assert.deepEqual(decodeAll(bytes, size), expected);
  });
  for (const { name, hex } of frameVectors.malformed) {
    test(`refuses ${name}`, () => assert.throws(() => decodeAll(Buffer.from(hex, "hex")), { name: "ProtocolError" }));
  }
  for (const { name, kind, bodyBytes, valid } of frameVectors.generated) {
    test(`${valid ? "takes" : "refuses"} ${name}`, () => {
      const bytes = encodeFrame(kind === 2 ? 0 : 1, kind, false, "", Buffer.alloc(bodyBytes));
      const decode = () => decodeAll(bytes, bytes.length, kind === 2 ? MAX_FRAME_LENGTH : undefined);
      if (valid) assert.equal(decode().length, 1);
      else assert.throws(decode, { name: "ProtocolError" });
    });
  }
});

function decodeAll(bytes: Buffer, chunkBytes = bytes.length, maxBodyBytes?: number): FrameVectors["frames"][number]["frame"][] {
  const frames: FrameVectors["frames"][number]["frame"][] = [];
  const decoder = new FrameDecoder((stream, kind, more, meta, body) => {
    frames.push({ stream, kind, more, metaText: meta.toString(), meta: parseMeta(meta), bodyBase64: body.toString("base64") });
  }, maxBodyBytes);
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) decoder.push(bytes.subarray(offset, offset + chunkBytes));
  return frames;
}

describe("the codec of the Node.js shim", () => {
  const codec = createRequire(import.meta.url)(`${ROOT}/runtimes/nodejs/frames.js`);

  const decode = (bytes: Buffer, chunkBytes = bytes.length): unknown[] => {
    const frames: unknown[] = [];
    const parser = new codec.FrameParser(
      (kind: number, stream: number, lent: Buffer, metaStart: number, bodyStart: number, end: number) => {
        frames.push({
          stream,
          kind: kind & ~codec.MORE,
          more: (kind & codec.MORE) !== 0,
          metaText: lent.toString("utf8", metaStart, bodyStart),
          meta: codec.parseMeta(lent, metaStart, bodyStart),
          bodyBase64: lent.toString("base64", bodyStart, end),
        });
      },
    );
    // As on the socket: one buffer takes every chunk.
    const chunk = Buffer.alloc(chunkBytes);
    for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
      parser.push(chunk, bytes.copy(chunk, 0, offset, offset + chunkBytes));
    }
    return frames;
  };

  test("reads all frames whatever chunks they come in", () => {
    const bytes = Buffer.from(frameVectors.frames.map(({ hex }) => hex).join(""), "hex");
    const expected = frameVectors.frames.map(({ frame }) => frame);
    for (const size of [1, 3, 7, 64, 1000, bytes.length]) assert.deepEqual(decode(bytes, size), expected);
  });
  test("writes the frames", () => {
    let written = "";
    const writer = new codec.FrameWriter({ write: (bytes: Buffer, length: number) => (written += bytes.toString("hex", 0, length)) });
    for (const { frame } of frameVectors.frames) {
      const body = Buffer.from(frame.bodyBase64, "base64");
      writer.bytes(frame.kind | (frame.more ? codec.MORE : 0), frame.stream, frame.metaText, body, 0, body.length);
    }
    writer.flush();
    assert.equal(written, frameVectors.frames.map(({ hex }) => hex).join(""));
  });
  for (const { name, hex } of frameVectors.malformed) {
    test(`refuses ${name}`, () => assert.throws(() => decode(Buffer.from(hex, "hex")), codec.ProtocolError));
  }
  for (const { name, kind, bodyBytes, valid } of frameVectors.generated) {
    test(`${valid ? "takes" : "refuses"} ${name}`, () => {
      const bytes = encodeFrame(kind === 2 ? 0 : 1, kind, false, "", Buffer.alloc(bodyBytes));
      if (valid) assert.equal(decode(bytes, 65_536).length, 1);
      else assert.throws(() => decode(bytes, 65_536), codec.ProtocolError);
    });
  }
});

for (const language of LANGUAGES) {
  const skip = language.missing ?? false;
  describe(language.name, { skip }, () => {
    playMalformed(language);
    playEvents(language);
    playValues(language);
    // A process for each: further versions of Python are given it in the full volume.
    if (IS_FULL || !OTHER_PYTHONS.some(({ name }) => name === language.name)) playSources(language);
  });
}

/** Some malformed frames, each to a replica of its own: all of them cost a start. */
function playMalformed(language: ShimLanguage): void {
  for (const { name, hex } of frameVectors.malformed.filter((_, index) => index % 4 === 1)) {
    test(`ends at ${name}`, async () => {
      const shim = await language.start(sourceOf(language, "identity"));
      await shim.hello();
      shim.write(Buffer.from(hex, "hex"));
      const { code } = await shim.exited;
      assert.notEqual(code, 0);
    });
  }
}

function playEvents(language: ShimLanguage): void {
  test("events", async (t) => {
    const source = sourceOf(language, "echo");
    const shim = await startSpecialised(language, source);
    t.after(() => shim.stop());
    for (const { name, call, expectedEvent, expectedError } of eventVectors.events) {
      await t.test(name, async () => {
        const answer = await shim.call(Buffer.from(call.bodyBase64, "base64"), call.meta);
        if (expectedError !== undefined) {
          assertError(answer, expectedError, language.language);
          return;
        }
        assert.equal(answer.head?.kind, 200, JSON.stringify(answer.error));
        const { event, rawBodyBase64 } = JSON.parse(answer.body.toString());
        assert.deepEqual(event, expectedEvent);
        assert.equal(rawBodyBase64, call.bodyBase64);
      });
    }
  });
}

function playValues(language: ShimLanguage): void {
  test("returned values", async (t) => {
    const shim = await startSpecialised(language, sourceOf(language, "identity"));
    t.after(() => shim.stop());
    for (const { name, returns, expected } of eventVectors.responses) {
      if (!("value" in returns)) continue;
      await t.test(name, async () =>
        assertExpected(await shim.call(JSON.stringify(returns.value), eventVectors.call), expected, language.language),
      );
    }
  });
}

function playSources(language: ShimLanguage): void {
  test("returned by source", async (t) => {
    for (const { name, meta, returns, expected } of eventVectors.responses) {
      const source = "source" in returns ? returns.source[language.language] : undefined;
      if (source === undefined) continue;
      await t.test(name, async () => {
        const shim = await startSpecialised(language, source);
        try {
          assertExpected(await shim.call("{}", { ...eventVectors.call, ...meta }), expected, language.language);
        } finally {
          await shim.stop();
        }
      });
    }
  });
}

function sourceOf(language: ShimLanguage, handler: "echo" | "identity"): string {
  const source = eventVectors.handlers[handler][language.language];
  assert(source !== undefined);
  return source;
}

async function startSpecialised(language: ShimLanguage, source: string): Promise<Shim> {
  const shim = await language.start(source);
  const { handlers, environment, concurrency, ...meta } = eventVectors.specialise;
  const specialisation: Specialisation = { code: source, handler: handlers[language.language] ?? "", environment, concurrency, meta };
  if (language.language === "nodejs") specialisation.module = "commonjs";
  const ready = await shim.specialise(specialisation);
  if (ready.kind !== 3) await shim.stop();
  assert.equal(ready.kind, 3, JSON.stringify(ready.meta));
  return shim;
}

function assertExpected(answer: Answer, expected: ExpectedResponse | { error: ExpectedError }, language: string): void {
  if ("error" in expected) assertError(answer, expected.error, language);
  else assertResponse(answer, expected);
}

function assertResponse({ head, body, error, abort }: Answer, expected: ExpectedResponse): void {
  assert(head !== undefined, JSON.stringify(error));
  assert.equal(head.kind, expected.status);
  assert.equal(head.meta["kind"], expected.kind);
  assert.deepEqual(head.meta["headers"] ?? [], expected.headers);
  assert.equal(typeof head.meta["durationMs"], "number");
  if (expected.streamed) assert.equal(head.more, true);
  if (expected.abort !== undefined) {
    assert.equal(abort?.["message"], expected.abort.message);
    return;
  }
  assert.equal(abort, undefined);
  if (expected.json !== undefined) assert.deepEqual(JSON.parse(body.toString()), expected.json);
  if (expected.bodyText !== undefined) assert.equal(body.toString(), expected.bodyText);
  if (expected.bodyBase64 !== undefined) assert.equal(body.toString("base64"), expected.bodyBase64);
  if (expected.bodyBytes !== undefined) assert.equal(body.length, expected.bodyBytes);
  if (expected.kind === "none") assert.equal(body.length, 0);
}

function assertError({ head, error }: Answer, expected: ExpectedError, language: string): void {
  assert(error !== undefined, `a response instead of an error: ${JSON.stringify(head?.meta)}`);
  assert.equal(error["code"], expected.code);
  const message = String(error["message"]);
  if (expected.message !== undefined) assert.equal(message, expected.message);
  const included = forLanguage(expected.messageIncludes, language);
  if (included !== undefined) assert(message.includes(included), message);
  const type = forLanguage(expected.type, language);
  if (type !== undefined) assert.equal(error["type"], type);
  if (forLanguage(expected.hasStack, language)) assert.equal(typeof error["stack"], "string");
}

function forLanguage<T>(value: PerLanguage<T> | undefined, language: string): T | undefined {
  if (value !== null && typeof value === "object") return (value as Partial<Record<string, T>>)[language];
  return value;
}
