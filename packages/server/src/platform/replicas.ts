import type { Logger } from "pino";
import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { OutputSink } from "../instances/local/provider.ts";
import type { Dispensable, ReplicaProvider } from "../instances/port.ts";
import type { Machine } from "./machine.ts";

/** What the house gives to whoever makes its replicas. */
export interface ReplicaParts {
  config: Config;
  machine: Machine;
  clock: Clock;
  log: Logger;
  output: OutputSink;
  idleReplicas(): Iterable<Dispensable>;
  yieldingReplicas(uid: string): Iterable<Dispensable>;
}

export interface Replicas {
  provider: ReplicaProvider;
  /** The functions are loaded: pools may fill. */
  start(): void;
  stop(): Promise<void>;
}

/** Sandboxes of the gateway's own machine: for tests of a cluster without nodes. */
export async function createLocalReplicas({
  config,
  machine,
  clock,
  log,
  output,
  idleReplicas,
  yieldingReplicas,
}: ReplicaParts): Promise<Replicas> {
  const { findLocalRuntimes } = await import("./local-runtimes.ts");
  const runtimes = await findLocalRuntimes(config, machine, clock, log);
  const provider = runtimes.createProvider({ output, idleReplicas, yieldingReplicas });
  return {
    provider,
    start: () => provider.start(),
    async stop() {
      await provider.stop({ deadlineMs: 0 });
      await runtimes.stop();
    },
  };
}

export function createReplicas(parts: ReplicaParts): Promise<Replicas> {
  if (parts.config.replicaDriver === "local") return createLocalReplicas(parts);
  throw new KsError("INTERNAL", { message: "Replicas as pods are not in this version" });
}
