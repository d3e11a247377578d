import type { MachineFacts } from "./machine.ts";
import type { AccessResult } from "./parts/access.ts";
import type { BurstResult } from "./parts/burst.ts";
import type { FirstCallResult } from "./parts/first-calls.ts";
import type { RegisteredResult } from "./parts/registered.ts";
import type { StartResult } from "./parts/start.ts";
import type { ScenarioResult } from "./parts/throughput.ts";

/** All that one run measured; parts that were left out are absent. */
export interface BenchResults {
  command: string;
  machine: MachineFacts;
  /** Part of one core that others were allowed. */
  foreignLimit: number;
  allowNoise: boolean;
  throughput?: ScenarioResult[];
  firstCalls?: FirstCallResult;
  burst?: BurstResult;
  registered?: RegisteredResult;
  start?: StartResult;
  access?: AccessResult;
}
