import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** A log's file as it was at one moment: what is appended later lies beyond `size`. */
export interface SegmentView {
  path: string;
  size: number;
}

interface Segment extends SegmentView {
  sequence: number;
}

export interface SegmentLimits {
  /** All files of one log together. */
  totalBytes: number;
  /** One file: what goes at once when there is too much. */
  segmentBytes: number;
}

const READ_BYTES = 65_536;
const NEWLINE = 0x0a;
const NAME = /^(\d{8,})\.ndjson$/;

/** The files of one function's log: lines appended to the newest, the oldest deleted where it gets too much. */
export class Segments {
  readonly #folder: string;
  readonly #limits: SegmentLimits;
  /** Oldest first. */
  #segments: Segment[] = [];
  /** The newest file ends within a line, as after a kill or on a full disk. */
  #torn = false;

  constructor(folder: string, limits: SegmentLimits) {
    this.#folder = folder;
    this.#limits = limits;
  }

  /** Finds what an earlier process left. */
  async open(): Promise<void> {
    const found: Segment[] = [];
    for (const name of (await readdir(this.#folder).catch(ignoreMissing)) ?? []) {
      const sequence = NAME.exec(name)?.[1];
      if (sequence === undefined) continue;
      const path = join(this.#folder, name);
      found.push({ path, sequence: Number(sequence), size: (await stat(path)).size });
    }
    found.sort((a, b) => a.sequence - b.sequence);
    const newest = found.at(-1);
    this.#torn = newest !== undefined && newest.size > 0 && (await lastByte(newest)) !== NEWLINE;
    this.#segments = found;
  }

  /** Newest first. */
  view(): SegmentView[] {
    return this.#segments.map(({ path, size }) => ({ path, size })).reverse();
  }

  /**
   * Appends whole lines; one call at a time. `onWritten` runs in the same moment in which `view` begins to show them.
   * @throws what the file system throws; then none of the lines counts as written.
   */
  async append(lines: Buffer, onWritten: () => void): Promise<void> {
    await this.#makeRoom(lines.length);
    const segment = this.#segmentFor(lines.length);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = await open(segment.path, "a", 0o600);
    try {
      // A torn line is ended, so that it spoils no other.
      const bytes = this.#torn ? Buffer.concat([Buffer.from("\n"), lines]) : lines;
      try {
        await file.writeFile(bytes);
      } catch (error) {
        this.#torn = await file.truncate(segment.size).then(
          () => this.#torn,
          () => true,
        );
        throw error;
      }
      this.#torn = false;
      segment.size += bytes.length;
      if (this.#segments.at(-1) !== segment) this.#segments.push(segment);
      onWritten();
    } finally {
      await file.close();
    }
  }

  async remove(): Promise<void> {
    this.#segments = [];
    await rm(this.#folder, { recursive: true, force: true });
  }

  #segmentFor(bytes: number): Segment {
    const newest = this.#segments.at(-1);
    if (newest !== undefined && newest.size + bytes <= this.#limits.segmentBytes) return newest;
    this.#torn = false;
    const sequence = (newest?.sequence ?? 0) + 1;
    return { path: join(this.#folder, `${String(sequence).padStart(8, "0")}.ndjson`), sequence, size: 0 };
  }

  async #makeRoom(bytes: number): Promise<void> {
    let total = bytes;
    for (const segment of this.#segments) total += segment.size;
    while (total > this.#limits.totalBytes && this.#segments.length > 0) {
      const oldest = this.#segments.shift()!;
      total -= oldest.size;
      await rm(oldest.path, { force: true });
    }
  }
}

/** Lines of files, newest first, in batches as they are read; the files may be deleted meanwhile. */
export async function* readBackwards(segments: readonly SegmentView[]): AsyncGenerator<string[]> {
  for (const { path, size } of segments) {
    const file = await open(path, "r").catch(ignoreMissing);
    if (file === undefined) return;
    try {
      // The beginning of a line whose end was read before.
      let rest: Buffer = Buffer.alloc(0);
      for (let end = size; end > 0; ) {
        const from = Math.max(0, end - READ_BYTES);
        const chunk = Buffer.allocUnsafe(end - from);
        const { bytesRead } = await file.read(chunk, 0, chunk.length, from);
        if (bytesRead < chunk.length) return;
        const bytes = Buffer.concat([chunk, rest]);
        const firstEnd = from === 0 ? -1 : bytes.indexOf(NEWLINE);
        if (from > 0 && firstEnd < 0) {
          rest = bytes;
        } else {
          rest = bytes.subarray(0, firstEnd + 1);
          yield bytes
            .toString("utf8", firstEnd + 1)
            .split("\n")
            .filter((line) => line !== "")
            .reverse();
        }
        end = from;
      }
    } finally {
      await file.close();
    }
  }
}

async function lastByte(segment: SegmentView): Promise<number | undefined> {
  const file = await open(segment.path, "r");
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, segment.size - 1);
    return buffer[0];
  } finally {
    await file.close();
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
