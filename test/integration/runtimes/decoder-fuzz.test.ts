import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { before, describe, test } from "node:test";
import { promisify } from "node:util";
import { buildGoEnvironment } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import { FrameDecoder, MAX_FRAME_LENGTH, MORE, parseMeta } from "../../../packages/server/src/protocol/frames.ts";
import { readVolume } from "../../support/fault-volume.ts";
import { buildFrameStream, type FrameStream } from "./frame-streams.ts";
import { GO_CACHE, GO_TOOLCHAINS, GOS, type Go } from "./gos.ts";
import { LANGUAGES } from "./languages.ts";
import { OTHER_PYTHONS, PYTHONS, runPython } from "./pythons.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const STREAMS = readVolume("KS_FUZZ_STREAMS", { brief: 2_000, full: 100_000 });
const PROCESSES = readVolume("KS_FUZZ_PROCESSES", { brief: 8, full: 200 });

/** What a decoder makes of a stream: its frames, each as `stream kind meta-hash body-hash`, and how it ended. */
interface Decoded {
  frames: string[];
  end: "whole" | "waits" | "refused";
}

function describeFrame(stream: number, kind: number, meta: Buffer, body: Buffer): string {
  return `${stream} ${kind} ${hash(meta)} ${hash(body)}`;
}

function hash(bytes: Buffer): string {
  return createHash("sha1").update(bytes).digest("hex").slice(0, 12);
}

/** In pieces, each in memory of its own, as a socket hands them over. */
function decodeBy({ bytes, pieceBytes }: FrameStream, isRefusal: (error: unknown) => boolean, push: (piece: Buffer) => void): boolean {
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) push(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

/** By the gateway's decoder, which is held against the others. */
function decodeInGateway(stream: FrameStream, readsMeta: boolean): Decoded {
  const frames: string[] = [];
  const decoder = new FrameDecoder((id, kind, more, meta, body) => {
    if (readsMeta) parseMeta(meta);
    frames.push(describeFrame(id, more ? kind | MORE : kind, meta, body));
  }, MAX_FRAME_LENGTH);
  const isPassed = decodeBy(
    stream,
    (error) => (error as Error).name === "ProtocolError",
    (piece) => decoder.push(piece),
  );
  if (!isPassed) return { frames, end: "refused" };
  return { frames, end: decoder.pendingBytes === 0 ? "whole" : "waits" };
}

function decodeInNodejs(stream: FrameStream): Decoded {
  const codec = createRequire(import.meta.url)(`${ROOT}/runtimes/nodejs/frames.js`);
  const frames: string[] = [];
  let taken = 0;
  const parser = new codec.FrameParser((kind: number, id: number, lent: Buffer, metaStart: number, bodyStart: number, end: number) => {
    codec.parseMeta(lent, metaStart, bodyStart);
    frames.push(describeFrame(id, kind, lent.subarray(metaStart, bodyStart), lent.subarray(bodyStart, end)));
    taken += 12 + end - metaStart;
  });
  const isPassed = decodeBy(
    stream,
    (error) => error instanceof codec.ProtocolError,
    (piece) => parser.push(piece, piece.length),
  );
  if (!isPassed) return { frames, end: "refused" };
  return { frames, end: taken === stream.bytes.length ? "whole" : "waits" };
}

const IN_PYTHON = `
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
from ks_replica.frames import Decoder, ProtocolError
import ks_replica.frames as module
seen = []
module._read_meta, read_meta = (lambda data: (read_meta(data), data)[1]), module._read_meta
digest = lambda data: hashlib.sha1(data).hexdigest()[:12]
for line in sys.stdin:
    text, piece = line.split()
    data = bytes.fromhex(text) if text != "-" else b""
    decoder, frames, end, taken = Decoder(), [], "", 0
    try:
        for at in range(0, len(data), int(piece)):
            for stream, kind, meta, body in decoder.feed(data[at : at + int(piece)]):
                frames.append("%d %d %s %s" % (stream, kind, digest(meta), digest(body)))
                taken += 12 + len(meta) + len(body)
        end = "whole" if taken == len(data) else "waits"
    except ProtocolError:
        end = "refused"
    print(json.dumps({"frames": frames, "end": end}))
`;

function writeStreams(streams: readonly FrameStream[]): string {
  return streams.map(({ bytes, pieceBytes }) => `${bytes.toString("hex") || "-"} ${pieceBytes}\n`).join("");
}

function readDecoded(lines: string): Decoded[] {
  return lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Decoded);
}

/** Its packages' tests have a case that decodes what a file holds. */
async function decodeInGo(go: Go, streams: readonly FrameStream[]): Promise<Decoded[]> {
  const folder = mkdtempSync(join(tmpdir(), "ks-fuzz-"));
  try {
    const [input, output] = [join(folder, "streams"), join(folder, "decoded")];
    writeFileSync(input, writeStreams(streams));
    const home = join(GO_CACHE, `home-${GO_TOOLCHAINS.find(({ program }) => program === go.program)?.version}`);
    await mkdir(home, { recursive: true });
    const env = { ...buildGoEnvironment(home), KS_FRAME_STREAMS: input, KS_FRAMES_DECODED: output };
    const run = ["test", "-vet=off", "-count=1", "-run=^TestStreamsOfFile$", "./frame"];
    await promisify(execFile)(go.program, run, { cwd: join(ROOT, "runtimes/go"), env });
    return readDecoded(readFileSync(output, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * All take the same frames, and what is whole to one is so to all. One may refuse at the head what another refuses once all of it is
 * there; and one that refuses need not have handed out what came in the same piece before.
 */
function assertAgree(found: Decoded, expected: Decoded, seed: number): void {
  const hint = `stream ${seed}: ${JSON.stringify({ found, expected })}`;
  const shared = found.end === "refused" ? expected.frames.slice(0, found.frames.length) : expected.frames;
  assert.deepEqual(found.frames, shared, hint);
  assert.equal(found.end === "whole", expected.end === "whole", hint);
}

describe("damaged streams of frames", () => {
  let streams: FrameStream[];
  let expected: Decoded[];
  before(() => {
    streams = Array.from({ length: STREAMS }, (_, seed) => buildFrameStream(seed));
    expected = streams.map((stream) => decodeInGateway(stream, true));
  });

  test("are of all three kinds", () => {
    for (const end of ["whole", "waits", "refused"]) {
      assert.ok(expected.filter((decoded) => decoded.end === end).length > STREAMS / 20, end);
    }
  });

  test("are the same to the Node.js shim's decoder as to the gateway's", () => {
    for (const [seed, stream] of streams.entries()) assertAgree(decodeInNodejs(stream), expected[seed]!, seed);
  });

  for (const python of [...PYTHONS, ...OTHER_PYTHONS]) {
    test(`are the same to the decoder of ${python.name}`, { skip: python.missing ?? false }, () => {
      const decoded = readDecoded(runPython(python.program, IN_PYTHON, writeStreams(streams)));
      assert.equal(decoded.length, streams.length);
      for (const [seed, found] of decoded.entries()) assertAgree(found, expected[seed]!, seed);
    });
  }

  for (const go of GOS) {
    // Whoever uses a frame reads its meta there.
    test(`are the same to the decoder of ${go.name}`, { skip: go.missing ?? false }, async () => {
      const decoded = await decodeInGo(go, streams);
      assert.equal(decoded.length, streams.length);
      for (const [seed, found] of decoded.entries()) assertAgree(found, decodeInGateway(streams[seed]!, false), seed);
    });
  }
});

const CRASH = /panic:|goroutine \d|Traceback|SIGSEGV|fatal error|RangeError|TypeError|heap out of memory/;
const HARMLESS: Record<string, string> = {
  nodejs: "exports.handler = () => 1;",
  python: "def handler(event):\n    return 1\n",
  go: "package main\n\nfunc Handler(e map[string]any) (any, error) { return 1, nil }\n",
};

for (const language of LANGUAGES) {
  test(`a replica of ${language.name} ends in order whatever frames come`, { skip: language.missing ?? false }, async () => {
    for (let seed = 0; seed < PROCESSES; seed++) {
      const shim = await language.start(HARMLESS[language.language] ?? "");
      try {
        await shim.hello();
        const { bytes } = buildFrameStream(seed * 7 + 1);
        shim.write(bytes);
        shim.endWriting();
        const { code, signal } = await shim.exited;
        assert.deepEqual([typeof code, signal], ["number", null], `stream ${seed}: ${shim.printed}`);
        assert.doesNotMatch(shim.printed, CRASH, `stream ${seed}`);
      } finally {
        await shim.stop();
      }
    }
  });
}
