import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FrameWriter } from "./frame-writer.ts";
import { encodeFrame, type Frame, FrameDecoder, FrameType, HEADER_BYTES, MAX_FRAME_LENGTH, parseMeta, ProtocolError } from "./frames.ts";

interface Vectors {
  frames: {
    name: string;
    hex: string;
    frame: { stream: number; kind: number; more: boolean; metaText: string; meta: object; bodyBase64: string };
  }[];
  malformed: { name: string; hex: string; why: string }[];
  generated: { name: string; kind: number; bodyBytes: number; valid: boolean }[];
}

const vectors = JSON.parse(readFileSync(new URL("../../../../runtimes/vectors/frames.json", import.meta.url), "utf8")) as Vectors;
/** The server side never receives SPECIALISE; the vectors hold for both sides. */
const ANY_BODY = MAX_FRAME_LENGTH;

function decodeAll(chunks: Iterable<Buffer>, maxBodyBytes?: number): Frame[] {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder((stream, kind, more, meta, body) => {
    parseMeta(meta);
    frames.push({ stream, kind, more, meta: Buffer.from(meta), body: Buffer.from(body) });
  }, maxBodyBytes);
  for (const chunk of chunks) decoder.push(chunk);
  return frames;
}

function* cut(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const frameArbitrary = fc.record({
  stream: fc.integer({ min: 0, max: 0xffffffff }),
  kind: fc.oneof(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 200, max: 599 })),
  more: fc.boolean(),
  meta: fc.oneof(
    fc.constant(""),
    fc.dictionary(fc.string(), fc.string({ unit: "grapheme" })).map((value) => JSON.stringify(value)),
  ),
  body: fc.uint8Array({ maxLength: 6000 }).map((bytes) => Buffer.from(bytes)),
});

describe("frames", () => {
  for (const { name, hex, frame } of vectors.frames) {
    test(`golden frame: ${name}`, () => {
      const body = Buffer.from(frame.bodyBase64, "base64");
      assert.equal(encodeFrame(frame.stream, frame.kind, frame.more, frame.metaText, body).toString("hex"), hex);
      const [decoded] = decodeAll([Buffer.from(hex, "hex")], ANY_BODY);
      assert.ok(decoded);
      assert.deepEqual(
        { stream: decoded.stream, kind: decoded.kind, more: decoded.more, meta: parseMeta(decoded.meta), body: decoded.body },
        { stream: frame.stream, kind: frame.kind, more: frame.more, meta: frame.meta, body },
      );
    });
  }

  for (const { name, hex } of vectors.malformed) {
    test(`refuses: ${name}`, () => {
      assert.throws(() => decodeAll([Buffer.from(hex, "hex")]), ProtocolError);
    });
  }

  for (const { name, kind, bodyBytes, valid } of vectors.generated) {
    test(`${valid ? "takes" : "refuses"}: ${name}`, () => {
      const limit = kind === FrameType.SPECIALISE ? ANY_BODY : undefined;
      const bytes = encodeFrame(kind === FrameType.SPECIALISE ? 0 : 1, kind, false, "", Buffer.alloc(bodyBytes));
      if (valid) assert.equal(decodeAll([bytes], limit)[0]?.body.length, bodyBytes);
      else assert.throws(() => decodeAll([bytes], limit), ProtocolError);
    });
  }

  test("what is encoded is decoded, however it is cut", () => {
    fc.assert(
      fc.property(
        fc.array(frameArbitrary, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 5 }),
        (frames, sizes) => {
          const bytes = Buffer.concat(frames.map(({ stream, kind, more, meta, body }) => encodeFrame(stream, kind, more, meta, body)));
          const decoded = decodeAll(cut(bytes, sizes));
          assert.deepEqual(
            decoded.map((frame) => ({ ...frame, meta: frame.meta.toString() })),
            frames.map((frame) => ({ ...frame })),
          );
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });

  test("arbitrary bytes end in frames, a wait for more, or a ProtocolError, and never in more memory than one frame", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 4000 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 4 }),
        (bytes, sizes) => {
          const decoder = new FrameDecoder((_stream, _kind, _more, meta) => void parseMeta(meta));
          try {
            for (const chunk of cut(Buffer.from(bytes), sizes)) decoder.push(chunk);
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error));
          }
          assert.ok(decoder.pendingBytes <= MAX_FRAME_LENGTH + HEADER_BYTES);
        },
      ),
      { seed: 11, numRuns: 2000 },
    );
  });

  test("one changed byte of a valid stream is refused or decodes to other frames, but never crashes", () => {
    const bytes = Buffer.concat(vectors.frames.map(({ hex }) => Buffer.from(hex, "hex")));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(bytes);
        damaged[at]! ^= flip;
        try {
          decodeAll([damaged], ANY_BODY);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { seed: 13, numRuns: 2000 },
    );
  });
});

describe("FrameWriter", () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test("gathers the frames of one turn, of which eight leave at once for the other side to begin with", async () => {
    const socket = new PassThrough();
    const writes: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => writes.push(chunk));
    const writer = new FrameWriter(socket);
    for (let stream = 1; stream <= 20; stream++) writer.send(stream, FrameType.CALL, false, '{"id":"é"}', Buffer.from("body"));
    await turn();
    await turn();
    assert.deepEqual(
      writes.map((write) => decodeAll([write]).map(({ stream }) => stream)),
      [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [9, 10, 11, 12, 13, 14, 15, 16],
        [17, 18, 19, 20],
      ],
    );
  });

  test("keeps order and content for any sizes, and never changes bytes once written", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(frameArbitrary, { maxLength: 12 }), { maxLength: 6 }),
        fc.integer({ min: 0, max: 65_536 }),
        async (turns, large) => {
          const socket = new PassThrough({ highWaterMark: 1 });
          const writes: Buffer[] = [];
          const copies: Buffer[] = [];
          socket.on("data", (chunk: Buffer) => {
            writes.push(chunk);
            copies.push(Buffer.from(chunk));
          });
          const writer = new FrameWriter(socket);
          const sent: { stream: number; body: Buffer }[] = [];
          for (const frames of turns) {
            for (const [index, { stream, kind, more, meta, body }] of frames.entries()) {
              const piece = index === 3 ? Buffer.alloc(large, 1) : body;
              writer.send(stream, kind, more, meta, piece);
              sent.push({ stream, body: piece });
            }
            await turn();
          }
          await turn();
          await turn();
          assert.ok(Buffer.concat(writes).equals(Buffer.concat(copies)), "bytes changed after they were written");
          assert.deepEqual(
            decodeAll(writes).map(({ stream, body }) => ({ stream, body })),
            sent,
          );
        },
      ),
      { seed: 17, numRuns: 60 },
    );
  });
});
