import { compareWithGoals, findStandardScenario, type GoalResult } from "./goals.ts";
import type { Part } from "./options.ts";
import type { BenchResults } from "./results.ts";
import { percentile } from "./statistics.ts";

/** `disturbed`: it is missed, but others used so much of the machine that this says nothing. */
export type Verdict = "held" | "failed" | "disturbed";

export interface Assertion extends GoalResult {
  verdict: Verdict;
  /** What had to be reached: the goal with its margin. */
  bound: number;
}

/** A shared machine may take this much of a ratio before a check fails. */
const MARGIN = 0.7;
/** Where others use more of one core than this (median of the rounds), what the clock says is not judged. */
export const DISTURBED_LOAD = 0.5;

/** Every ratio against its goal, with a wide margin. Times and sizes are not judged, as they differ by machine. */
export function assertGoals(results: BenchResults): Assertion[] {
  return compareWithGoals(results)
    .filter(({ unit }) => unit === "×")
    .map((goal) => {
      const bound = goal.kind === "at-least" ? goal.limit * MARGIN : goal.limit / MARGIN;
      const isHeld = goal.kind === "at-least" ? goal.value >= bound : goal.value <= bound;
      const isJudged = goal.isSturdy === true || !(foreignLoad(results, goal.part) > DISTURBED_LOAD);
      return { ...goal, bound, verdict: isHeld ? "held" : isJudged ? "failed" : "disturbed" };
    });
}

/** What is worth another attempt. */
export function findMissedParts(assertions: readonly Assertion[]): Part[] {
  return [...new Set(assertions.filter(({ verdict }) => verdict !== "held").map(({ part }) => part))];
}

function foreignLoad({ throughput, firstCalls }: BenchResults, part: Part): number {
  const loads = part === "throughput" ? findStandardScenario(throughput ?? [])?.foreignLoads : firstCalls?.foreignLoads;
  return percentile(loads ?? [], 0.5);
}
