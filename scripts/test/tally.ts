/** What node:test tells of one test; the fields that are read here. */
export interface TestReport {
  file?: string;
  name: string;
  nesting: number;
  skip?: string | boolean;
  todo?: string | boolean;
  details?: { type?: string; error?: TestError };
}

interface TestError {
  failureType?: string;
  message?: string;
  cause?: unknown;
  /** Of a file whose process ended by itself. */
  exitCode?: number;
  signal?: string | null;
}

export interface Failure {
  file: string;
  /** Names of the tests around it and its own; empty for the file as a whole. */
  path: readonly string[];
  text: string;
}

interface Open {
  name: string;
  hasChildren: boolean;
  /** Tests within were cut off by its end, and count for it. */
  hasCancelled: boolean;
}

/** What is kept of one file. */
interface Progress {
  /** The test that is reported and those around it, outermost first. */
  open: Open[];
  /** What began last: of a file that is ended from outside, where it hung. */
  lastBegun: string | undefined;
  failed: number;
}

/** Counts tests, not the suites and tests around them, and keeps why some were left out. */
export class Tally {
  passed = 0;
  failed = 0;
  /** How many tests by reason. */
  readonly skipped = new Map<string, number>();
  readonly #files = new Map<string, Progress>();

  get skippedCount(): number {
    return [...this.skipped.values()].reduce((sum, count) => sum + count, 0);
  }

  /** A test begins; the reports of tests that run at once come one after the other, later. */
  begin({ file = "", name }: TestReport): void {
    if (name !== file) this.#progress(file).lastBegun = name;
  }

  start({ file = "", name, nesting }: TestReport): void {
    const { open } = this.#progress(file);
    open.length = Math.min(open.length, nesting);
    const parent = open[nesting - 1];
    if (parent !== undefined) parent.hasChildren = true;
    open[nesting] = { name, hasChildren: false, hasCancelled: false };
  }

  pass(report: TestReport): void {
    if (report.skip !== undefined && report.skip !== false) return this.#skip(report.skip);
    if (report.todo !== undefined && report.todo !== false) return this.#skip(`to do: ${String(report.todo)}`);
    if (!this.#isAround(report)) this.passed++;
  }

  /** The failure to show; undefined where it is only that of a test within. One that shows in two places counts once. */
  fail(report: TestReport): Failure | undefined {
    const { file = "", name, nesting, details: { error } = {} } = report;
    if (error?.failureType === "subtestsFailed") return undefined;
    const progress = this.#progress(file);
    if (!this.#isCounted(report, progress)) {
      this.failed++;
      progress.failed++;
    }
    const around = progress.open.slice(0, nesting).map((open) => open.name);
    return { file, path: name === file ? [] : [...around, name], text: describeError(error, progress.lastBegun) };
  }

  /** A file that ends in failure says so beside its test, and a test that ran out of time beside those that it cut off. */
  #isCounted({ file, name, nesting, details }: TestReport, { open, failed }: Progress): boolean {
    if (name === file) return failed > 0;
    const parent = open[nesting - 1];
    if (details?.error?.failureType === "cancelledByParent" && parent !== undefined) parent.hasCancelled = true;
    return open[nesting]?.hasCancelled === true;
  }

  #skip(reason: string | boolean): void {
    const text = typeof reason === "string" && reason !== "" ? reason : "without a reason";
    this.skipped.set(text, (this.skipped.get(text) ?? 0) + 1);
  }

  #isAround({ file = "", nesting, details }: TestReport): boolean {
    return details?.type === "suite" || this.#progress(file).open[nesting]?.hasChildren === true;
  }

  #progress(file: string): Progress {
    let progress = this.#files.get(file);
    if (progress === undefined) this.#files.set(file, (progress = { open: [], lastBegun: undefined, failed: 0 }));
    return progress;
  }
}

function describeError(error: TestError | undefined, lastBegun: string | undefined): string {
  const { cause, exitCode, failureType, signal } = error ?? {};
  if (failureType === "testAborted")
    return `it was ended from outside, out of time or interrupted${lastBegun === undefined ? "" : `, while '${lastBegun}' ran`}`;
  if (signal !== undefined && signal !== null) return `its process was ended by ${signal}`;
  if (exitCode !== undefined) return `its process ended with exit code ${exitCode}, before all tests were done`;
  if (cause instanceof Error) return cause.stack ?? cause.message;
  if (typeof cause === "string") return cause;
  return error?.message ?? "failed without an error";
}

/** The last line of a run: `N passed, N failed`, and what was left out where something was. */
export function formatTotals(tally: Tally): string {
  const skipped = tally.skippedCount;
  return `${tally.passed} passed, ${tally.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
