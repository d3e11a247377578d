import { readFileSync } from "node:fs";
import { encodeFrame } from "../../../packages/server/src/protocol/frames.ts";
import { seededRandom } from "../store/random.ts";

const VECTORS = new URL("../../../runtimes/vectors/frames.json", import.meta.url);
const { frames, malformed } = JSON.parse(readFileSync(VECTORS, "utf8")) as { frames: { hex: string }[]; malformed: { hex: string }[] };
const GOOD = frames.map(({ hex }) => Buffer.from(hex, "hex"));
const BAD = malformed.map(({ hex }) => Buffer.from(hex, "hex"));

/** Bytes as a hostile peer may send them, in the pieces in which they come. */
export interface FrameStream {
  bytes: Buffer;
  pieceBytes: number;
}

/** The same stream for the same seed: golden frames, most of them damaged in one of the ways that decoders stumble over. */
export function buildFrameStream(seed: number): FrameStream {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  const parts = Array.from({ length: 1 + below(6) }, () => Buffer.from(pick(GOOD)));
  const damages: ((part: Buffer) => Buffer)[] = [
    (part) => part,
    (part) => ((part[below(part.length)]! ^= 1 << below(8)), part),
    (part) => ((part[below(12)] = below(256)), part),
    (part) => part.subarray(0, below(part.length)),
    (part) => Buffer.concat([part, Buffer.from(Array.from({ length: 1 + below(20) }, () => below(256)))]),
    (part) => (part.writeUInt32BE(pick([0, 7, 8, 9, 0x7fffffff, 0xffffffff, 4 << 20, (4 << 20) + 1]), 0), part),
    (part) => (part.writeUInt16BE(pick([0, 1, 0xffff, part.length]), 10), part),
    (part) => (part.writeUInt16BE(pick([0, 1, 99, 100, 199, 200, 599, 600, 0x7fff, 0x8000, 0xffff]), 8), part),
    () => Buffer.from(pick(BAD)),
    () =>
      encodeFrame(
        below(2 ** 32),
        1 + below(99),
        random() < 0.5,
        pick(["", "{}", "[]", "null", "{", '{"a":1e999}', '{"a":"\u{1f600}"}']),
        Buffer.alloc(below(2_000), below(256)),
      ),
  ];
  const bytes = Buffer.concat(parts.map((part) => pick(damages)(part)));
  return { bytes, pieceBytes: pick([1, 2, 3, 5, 11, 12, 13, 64, 1_000, 65_536]) };
}
