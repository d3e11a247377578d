import { CreateApiKey, KsError } from "@kube-serverless/contracts";
import { systemClock } from "../clock.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import { AccessControl } from "../security/access-control.ts";
import { passCredentials } from "../security/authentication/authentication.ts";
import { Authenticator } from "../security/authentication/authenticator.ts";
import { type Credentials, NO_CREDENTIALS } from "../security/authentication/credentials.ts";
import { ApiKeys } from "../security/keys/api-keys.ts";
import { MemoryKeyStore } from "../security/keys/memory-key-store.ts";
import { CallLimits } from "../security/limits/call-limits.ts";
import { TaskGroup } from "../task-group.ts";
import { CallAdmission } from "./call-admission.ts";

const CALLS = 100_000;
/** Full again before the next call, as with calls that take their time. */
const HIGH = { rateLimit: { requestsPerSecond: 1_000_000_000, burst: 10_000_000 }, maxConcurrency: 100_000 };
const audit = { add: () => {} };
const keys = new ApiKeys({ store: new MemoryKeyStore(), clock: systemClock, tasks: new TaskGroup(console) });
const { key } = await keys.create(CreateApiKey.parse({ name: "bench", role: "invoker", functions: ["he*"] }));
const bytes = Buffer.from(`Bearer ${key}`);

function open(authenticator: Authenticator | undefined, limits: object): { admission: CallAdmission; entry: FunctionEntry } {
  const spec = { name: "hello", ...limits };
  return {
    admission: new CallAdmission({
      clock: systemClock,
      access: new AccessControl({ authenticator, audit }),
      limits: new CallLimits({ caller: limits, global: limits }),
      checkBudget: () => {},
      onRefused: (_entry, error) => {
        throw error;
      },
    }),
    entry: { stored: { spec } } as FunctionEntry,
  };
}

const notFound = (): KsError => new KsError("FUNCTION_NOT_FOUND");
const from = (): string => "127.0.0.1";

/** All that a call does for its admission, from its credentials to the headers of its answer. */
function callThrough({ admission, entry }: ReturnType<typeof open>, credentials: Credentials, answer: string[]): void {
  const authentication = admission.identify(credentials);
  if (authentication instanceof Promise) throw new Error("a key is known at once");
  const admitted = admission.admit({ entry, auth: undefined, notFound }, authentication, from, "id");
  admission.callerOf(authentication, entry);
  passCredentials({}, credentials, authentication);
  answer.length = 0;
  admitted?.appendHeaders(answer);
  admitted?.leave();
}

// Each request brings a string of its own, whose hash is not known yet.
const credentials = (): Credentials => ({ authorization: bytes.toString("latin1") });
const answer: string[] = [];
const off = open(undefined, {});
const guarded = open(new Authenticator({ clock: systemClock, keys }), {});
const limited = open(new Authenticator({ clock: systemClock, keys }), HIGH);
const works: Record<string, () => void> = {
  off: () => callThrough(off, NO_CREDENTIALS, answer),
  "making the header": () => void credentials(),
  "with a key and its role": () => callThrough(guarded, credentials(), answer),
  "with three limits, too": () => callThrough(limited, credentials(), answer),
};

/** Nanoseconds of a call, the least of some rounds: node packages/server/src/gateway/call-admission.bench.ts */
const bestNs: Record<string, number> = {};
for (let round = 0; round < 12; round++) {
  for (const [name, work] of Object.entries(works)) {
    const startNs = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) work();
    bestNs[name] = Math.min(bestNs[name] ?? Infinity, Number(process.hrtime.bigint() - startNs) / CALLS);
  }
}
for (const [name, ns] of Object.entries(bestNs)) console.log(`${name}: ${ns.toFixed(0)} ns`);
process.exit(0);
