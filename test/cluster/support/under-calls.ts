import assert from "node:assert/strict";
import { CallStream, type CallStreamOptions, describeFailures, type Outcome } from "./call-stream.ts";

/** What became of the calls around a fault, times counted from the fault. */
export class Aftermath {
  readonly outcomes: readonly Outcome[];
  readonly #faultMs: number;

  constructor(outcomes: readonly Outcome[], faultMs: number) {
    this.outcomes = outcomes;
    this.#faultMs = faultMs;
  }

  /** Calls that were sent from `fromMs` to `toMs` after the fault. */
  between(fromMs: number, toMs: number): Outcome[] {
    return this.outcomes.filter(({ atMs }) => atMs - this.#faultMs >= fromMs && atMs - this.#faultMs < toMs);
  }

  /** Nothing failed but what `isAllowed` says. */
  assertNoFailures(isAllowed: (outcome: Outcome) => boolean = () => false): void {
    const kept = this.outcomes.filter((outcome) => outcome.status === 200 || !isAllowed(outcome));
    assert.ok(kept.length > 0, "no call was made");
    assert.equal(kept.filter(({ status }) => status !== 200).length, 0, describeFailures(kept, this.#faultMs));
  }

  /** Whatever was sent later than this succeeded, and such calls there were. */
  assertGoodAfter(ms: number, isMeant: (outcome: Outcome) => boolean = () => true): void {
    const later = this.between(ms, Number.POSITIVE_INFINITY).filter(isMeant);
    assert.ok(later.length > 0, `no call was sent later than ${ms} ms after the fault`);
    assert.equal(later.filter(({ status }) => status !== 200).length, 0, describeFailures(later, this.#faultMs));
  }
}

export type UnderCallsOptions = Partial<CallStreamOptions> & Pick<CallStreamOptions, "origins" | "path">;

/** So many calls before the fault and after its end, at least. */
const CALLS_AROUND = 60;

/** Runs `fault` under a steady stream of calls, which goes well before. `fault` may say when it happens, by `mark`. */
export async function underCalls(
  options: UnderCallsOptions,
  fault: (mark: () => void, stream: CallStream) => Promise<void>,
): Promise<Aftermath> {
  const stream = new CallStream({ callsPerSecond: 40, ...options });
  let faultMs = 0;
  const mark = (): void => void (faultMs = performance.now());
  try {
    await stream.settle(CALLS_AROUND);
    assert.equal(stream.failures.length, 0, `calls failed before the fault: ${describeFailures(stream.outcomes, performance.now())}`);
    mark();
    await fault(mark, stream);
    await stream.settle(CALLS_AROUND);
  } finally {
    await stream.stop();
  }
  return new Aftermath(stream.outcomes, faultMs);
}
