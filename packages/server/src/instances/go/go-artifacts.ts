import { createHash, randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { diskFullError, isNoSpace } from "../../store/disk-full.ts";
import { syncPath, writeDurably } from "./durable-folder.ts";

interface Known {
  size: number;
  lastUsedMs: number;
  /** When a use was written down last. */
  markedAtMs: number;
  /** Modification time of the file whose hash was found right. */
  verifiedAtMs: number | undefined;
}

interface Facts {
  size: number;
  sha256: string;
}

const PROGRAM = "handler";
const FACTS = "facts.json";

/** Uses are written down so often at most. */
const MARK_INTERVAL_MS = 60_000;

/** Compiled programs by the hash of what they are made of: a cache on disk, bounded, least recently used first out. */
export class GoArtifacts {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  #opened: Promise<void> | undefined;

  constructor(options: { folder: string; maxBytes: number; clock: Clock }) {
    this.#folder = options.folder;
    this.#maxBytes = options.maxBytes;
    this.#clock = options.clock;
  }

  /** Path of the program, undefined when it isn't there; one that was damaged is thrown away. */
  async find(key: string): Promise<string | undefined> {
    await this.#open();
    const known = this.#known.get(key);
    if (known === undefined) return undefined;
    if (!(await this.#isWhole(key, known))) {
      await this.#remove(key);
      return undefined;
    }
    await this.#touch(key, known);
    return join(this.#folder, key, PROGRAM);
  }

  /** Keeps a program, and makes room for it. @throws KsError `STORE_UNAVAILABLE` where the disk is full */
  async add(key: string, program: Buffer): Promise<string> {
    await this.#open();
    await this.#write(key, program);
    const nowMs = this.#clock.nowMs();
    // Written here from what was compiled: the first call need not read it once more.
    const { mtimeMs } = await stat(join(this.#folder, key, PROGRAM));
    this.#known.set(key, { size: program.length, lastUsedMs: nowMs, markedAtMs: nowMs, verifiedAtMs: mtimeMs });
    await this.#makeRoom(key);
    return join(this.#folder, key, PROGRAM);
  }

  get totalBytes(): number {
    return [...this.#known.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** On a full disk other programs go first: they can be compiled again. */
  async #write(key: string, program: Buffer): Promise<void> {
    for (;;) {
      try {
        return await this.#writeFolder(key, program);
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        const [oldest] = this.#oldestFirst();
        const { bavail, bsize } = await statfs(this.#folder);
        if (oldest === undefined || bavail * bsize + this.totalBytes < program.length) throw diskFullError(this.#folder, error);
        await this.#remove(oldest);
      }
    }
  }

  async #writeFolder(key: string, program: Buffer): Promise<void> {
    const work = join(this.#folder, `.${randomUUID()}`);
    const facts: Facts = { size: program.length, sha256: createHash("sha256").update(program).digest("hex") };
    try {
      await mkdir(work, { recursive: true });
      await writeDurably(join(work, PROGRAM), program);
      await chmod(join(work, PROGRAM), 0o555);
      await writeDurably(join(work, FACTS), Buffer.from(JSON.stringify(facts)));
      await this.#markUsed(work);
      await this.#remove(key);
      await rename(work, join(this.#folder, key));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    await syncPath(this.#folder);
  }

  #open(): Promise<void> {
    this.#opened ??= this.#readFolder();
    return this.#opened;
  }

  async #readFolder(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    for (const name of await readdir(this.#folder)) {
      const facts = name.startsWith(".") ? undefined : await this.#readFacts(name);
      if (facts === undefined) await rm(join(this.#folder, name), { recursive: true, force: true });
      else this.#known.set(name, { size: facts.size, lastUsedMs: facts.usedAtMs, markedAtMs: facts.usedAtMs, verifiedAtMs: undefined });
    }
  }

  async #readFacts(key: string): Promise<(Facts & { usedAtMs: number }) | undefined> {
    const path = join(this.#folder, key, FACTS);
    try {
      const facts = JSON.parse(await readFile(path, "utf8")) as Facts;
      return { ...facts, usedAtMs: (await stat(path)).mtimeMs };
    } catch {
      return undefined;
    }
  }

  async #isWhole(key: string, known: Known): Promise<boolean> {
    const path = join(this.#folder, key, PROGRAM);
    try {
      // Hashing takes 1 ms for each 2 MB: once a file is enough. A first call waits for this, and threads would take longer.
      const { size, mtimeMs } = statSync(path);
      if (size !== known.size) return false;
      if (mtimeMs === known.verifiedAtMs) return true;
      const facts = await this.#readFacts(key);
      const sha256 = createHash("sha256")
        .update(await readFile(path))
        .digest("hex");
      if (facts?.sha256 !== sha256) return false;
      known.verifiedAtMs = mtimeMs;
      return true;
    } catch {
      return false;
    }
  }

  async #touch(key: string, known: Known): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (nowMs - known.markedAtMs >= MARK_INTERVAL_MS) {
      known.markedAtMs = nowMs;
      await this.#markUsed(join(this.#folder, key)).catch(() => undefined);
    }
    known.lastUsedMs = nowMs;
  }

  #markUsed(folder: string): Promise<void> {
    const nowSeconds = this.#clock.nowMs() / 1000;
    return utimes(join(folder, FACTS), nowSeconds, nowSeconds);
  }

  async #makeRoom(keep: string): Promise<void> {
    for (const key of this.#oldestFirst()) {
      if (this.totalBytes <= this.#maxBytes) return;
      if (key !== keep) await this.#remove(key);
    }
  }

  #oldestFirst(): string[] {
    return [...this.#known].sort(([, a], [, b]) => a.lastUsedMs - b.lastUsedMs).map(([key]) => key);
  }

  async #remove(key: string): Promise<void> {
    this.#known.delete(key);
    await rm(join(this.#folder, key), { recursive: true, force: true });
  }
}
