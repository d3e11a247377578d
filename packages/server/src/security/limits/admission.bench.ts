import { enterAll, leaveAll, type LimiterSet } from "./admission.ts";
import { CallerLimiters } from "./caller-limiters.ts";
import { compileLimits, Limiter } from "./limiter.ts";

const CALLS = 1_000_000;
const open = compileLimits({ rateLimit: { requestsPerSecond: 1_000_000, burst: 10_000_000 }, maxConcurrency: 100_000 })!;
const shut = compileLimits({ rateLimit: { requestsPerSecond: 0.001, burst: 1 } })!;

/** Nanoseconds of one decision, the least of some rounds: node packages/server/src/security/limits/admission.bench.ts */
function bench(name: string, decide: (call: number) => void): void {
  let bestNs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 6; round++) {
    const startNs = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) decide(call);
    bestNs = Math.min(bestNs, Number(process.hrtime.bigint() - startNs) / CALLS);
  }
  console.log(`${name}: ${bestNs.toFixed(1)} ns`);
}

const subjects = Array.from({ length: 1024 }, (_, i) => `issuer:user-${i}`);
const callers = new CallerLimiters();
const all: LimiterSet = { function: new Limiter(open), caller: undefined, global: new Limiter(open) };
bench("function, caller (of 1024) and all together, let in and left", (call) => {
  const nowMs = call / 100;
  all.caller = callers.of(subjects[call & 1023]!, open, nowMs);
  if (enterAll(all, nowMs) === undefined) leaveAll(all);
});

const one: LimiterSet = { function: new Limiter(open), caller: undefined, global: undefined };
bench("function alone, let in and left", (call) => {
  if (enterAll(one, call / 100) === undefined) leaveAll(one);
});

const closed: LimiterSet = { function: new Limiter(shut), caller: undefined, global: undefined };
enterAll(closed, 0);
bench("refused", () => enterAll(closed, 1));

const million = Array.from({ length: CALLS }, (_, i) => `issuer:person-${i}`);
const crowd = new CallerLimiters();
let round = 0;
bench("a caller never seen before, its making and forgetting included", (call) => {
  if (call === 0) round++;
  const nowMs = round * 1e6 + call / 100;
  const limiters: LimiterSet = { function: undefined, caller: crowd.of(million[call]!, open, nowMs), global: undefined };
  if (enterAll(limiters, nowMs) === undefined) leaveAll(limiters);
});
