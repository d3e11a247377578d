import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { Segments, type SegmentLimits } from "../../logs/segments.ts";
import type { TaskGroup } from "../../task-group.ts";
import { compileRate } from "../limits/rate.ts";
import { TokenBucket } from "../limits/token-bucket.ts";
import { type AuditEvent, encodeAuditLine } from "./audit-entry.ts";
import { AuditFile } from "./audit-file.ts";

export interface AuditLogOptions {
  /** Made when it is missing; holds `changes/` and `refusals/`, each with numbered files of one JSON object a line. */
  folder: string;
  clock: Clock;
  tasks: TaskGroup;
  /** Of changes, and of refusals. @default 100 MiB in files of 10 MiB */
  limits?: SegmentLimits;
}

const DEFAULT_LIMITS: SegmentLimits = { totalBytes: 100 * 1024 * 1024, segmentBytes: 10 * 1024 * 1024 };
// Whoever knocks without end must fill neither the disk nor the log: about a third of a gigabyte a day at most, which rotates.
const REFUSALS = compileRate({ requestsPerSecond: 20, burst: 500 });

/**
 * Who changed what, and who was refused. Two logs, so that refusals, which anybody can cause, never push a change out. Writing never
 * makes a call wait, and a power loss may take the last tenth of a second.
 */
export class AuditLog {
  readonly #clock: Clock;
  readonly #changes: AuditFile;
  readonly #refusals: AuditFile;
  readonly #bucket = new TokenBucket(REFUSALS);
  #suppressedChanges = 0;
  #suppressedRefusals = 0;

  constructor({ folder, clock, tasks, limits = DEFAULT_LIMITS }: AuditLogOptions) {
    this.#clock = clock;
    const open = (name: string) => new AuditFile({ segments: new Segments(join(folder, name), limits), clock, tasks });
    this.#changes = open("changes");
    this.#refusals = open("refusals");
  }

  /** False while the disk takes no entries: `/ready` says so. */
  get isHealthy(): boolean {
    return this.#changes.isHealthy && this.#refusals.isHealthy;
  }

  add(event: AuditEvent): void {
    if (event.refused === undefined) this.#addChange(event);
    else this.#addRefusal(event);
  }

  async flush(): Promise<void> {
    await Promise.all([this.#changes.flush(), this.#refusals.flush()]);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#changes.stop(), this.#refusals.stop()]);
  }

  #addChange(event: AuditEvent): void {
    const isTaken = this.#changes.add(encodeAuditLine(event, this.#clock.nowMs(), this.#suppressedChanges));
    this.#suppressedChanges = isTaken ? 0 : this.#suppressedChanges + 1;
  }

  #addRefusal(event: AuditEvent): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#bucket.waitMs(nowMs) > 0) {
      this.#suppressedRefusals++;
      return;
    }
    this.#bucket.take(nowMs);
    const isTaken = this.#refusals.add(encodeAuditLine(event, this.#clock.nowMs(), this.#suppressedRefusals));
    this.#suppressedRefusals = isTaken ? 0 : this.#suppressedRefusals + 1;
  }
}
