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
}

/** Counts tests, not the suites and tests around them, and keeps why some were left out. */
export class Tally {
  passed = 0;
  failed = 0;
  /** How many tests by reason. */
  readonly skipped = new Map<string, number>();
  readonly #open = new Map<string, Open[]>();

  get skippedCount(): number {
    return [...this.skipped.values()].reduce((sum, count) => sum + count, 0);
  }

  start({ file = "", name, nesting }: TestReport): void {
    const stack = this.#stack(file);
    stack.length = Math.min(stack.length, nesting);
    const parent = stack[nesting - 1];
    if (parent !== undefined) parent.hasChildren = true;
    stack[nesting] = { name, hasChildren: false };
  }

  pass(report: TestReport): void {
    if (report.skip !== undefined && report.skip !== false) return this.#skip(report.skip);
    if (report.todo !== undefined && report.todo !== false) return this.#skip(`to do: ${String(report.todo)}`);
    if (!this.#isAround(report)) this.passed++;
  }

  /** The failure to show; undefined where it is only that of a test within. */
  fail(report: TestReport): Failure | undefined {
    const error = report.details?.error;
    if (error?.failureType === "subtestsFailed") return undefined;
    this.failed++;
    const { file = "", nesting } = report;
    const around = this.#stack(file)
      .slice(0, nesting)
      .map((open) => open.name);
    const path = report.name === file ? [] : [...around, report.name];
    return { file, path, text: describeError(error) };
  }

  #skip(reason: string | boolean): void {
    const text = typeof reason === "string" && reason !== "" ? reason : "without a reason";
    this.skipped.set(text, (this.skipped.get(text) ?? 0) + 1);
  }

  #isAround({ file = "", nesting, details }: TestReport): boolean {
    return details?.type === "suite" || this.#stack(file)[nesting]?.hasChildren === true;
  }

  #stack(file: string): Open[] {
    let stack = this.#open.get(file);
    if (stack === undefined) this.#open.set(file, (stack = []));
    return stack;
  }
}

function describeError(error: TestError | undefined): string {
  const { cause, exitCode, signal } = error ?? {};
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
