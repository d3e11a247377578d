import { CreateApiKey, decideAccess } from "@kube-serverless/contracts";
import { systemClock } from "../../clock.ts";
import { TaskGroup } from "../../task-group.ts";
import { ApiKeys } from "../keys/api-keys.ts";
import { MemoryKeyStore } from "../keys/memory-key-store.ts";
import { Authenticator } from "./authenticator.ts";

const CALLS = 300_000;
const keys = new ApiKeys({ store: new MemoryKeyStore(), clock: systemClock, tasks: new TaskGroup(console) });
const authenticator = new Authenticator({ clock: systemClock, keys });
const { key } = await keys.create(CreateApiKey.parse({ name: "bench", role: "invoker", functions: ["team-a-*", "team-b-*"] }));
const bytes = Buffer.from(`Bearer ${key}`);

/** Nanoseconds of a call, the least of some rounds: node packages/server/src/security/authentication/authenticator.bench.ts */
function bench(name: string, work: () => void): number {
  let bestNs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 6; round++) {
    const startNs = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) work();
    bestNs = Math.min(bestNs, Number(process.hrtime.bigint() - startNs) / CALLS);
  }
  console.log(`${name}: ${bestNs.toFixed(1)} ns`);
  return bestNs;
}

// Each request brings a string of its own, whose hash is not known yet.
const header = () => ({ authorization: bytes.toString("latin1") });
const making = bench("making the header", () => void header());
const both = bench("making the header, authenticate, decide", () => {
  const answer = authenticator.authenticate(header());
  if (answer instanceof Promise || decideAccess(answer.principal, "create", "functions/invoke", "team-b-orders") !== "allowed")
    throw new Error("refused");
});
console.log(`authenticate and decide: ${(both - making).toFixed(1)} ns`);
await keys.stop();
process.exit(0);
