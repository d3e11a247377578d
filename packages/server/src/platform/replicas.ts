import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { GoArtifacts } from "../instances/go/go-artifacts.ts";
import { PodGoPrograms } from "../instances/kubernetes/go-programs.ts";
import { createPodApi } from "../instances/kubernetes/pod-api.ts";
import { PodWatch } from "../instances/kubernetes/pod-watch.ts";
import { KubernetesProvider } from "../instances/kubernetes/provider.ts";
import type { OutputSink } from "../instances/local/descriptor-output.ts";
import type { Dispensable, Replica, ReplicaProvider, RevisionRef } from "../instances/port.ts";
import type { ApiClient } from "../kubernetes/api-client.ts";
import type { ProofKeys } from "../kubernetes/signing-keys.ts";
import type { Machine } from "./machine.ts";

/** What the house gives to whoever makes its replicas. */
export interface ReplicaParts {
  config: Config;
  machine: Machine;
  clock: Clock;
  log: Logger;
  client: ApiClient;
  gatewayId: string;
  keys(): ProofKeys;
  isOwner(uid: string): boolean;
  output: OutputSink;
  idleReplicas(): Iterable<Dispensable>;
  yieldingReplicas(uid: string): Iterable<Dispensable>;
}

/** Who makes replicas, and what a cluster wants of it beyond that. */
export interface Replicas {
  provider: ReplicaProvider;
  /** Resolves when it is known what there is; pools may fill from then on. */
  start(): Promise<void>;
  /** Replicas of the revision that another gateway has left. */
  adopt(revision: RevisionRef): Promise<readonly Replica[]>;
  /** Whether replicas of a function go on where its next owner is; else they end with their last calls. */
  readonly goOn: boolean;
  /** Another gateway owns the function now: its replicas go on there. */
  release(uid: string): Promise<void>;
  /** Whether this gateway is the one that sizes the pools. */
  setLeading(leads: boolean): void;
  stop(): Promise<void>;
}

export async function createReplicas(parts: ReplicaParts): Promise<Replicas> {
  return parts.config.replicaDriver === "local" ? createLocalReplicas(parts) : createPodReplicas(parts);
}

function createPodReplicas({ config, clock, log, client, gatewayId, keys, isOwner, output }: ReplicaParts): Replicas {
  const namespace = config.functionsNamespace;
  const graceMs = config.shutdownTimeoutMs;
  // Of this gateway alone: what is not there is compiled again.
  const artifacts = new GoArtifacts({
    folder: join(config.dataFolder, "go", "artifacts"),
    maxBytes: config.goCacheMiB * 1024 * 1024,
    clock,
  });
  const provider = new KubernetesProvider({
    clock,
    gatewayId,
    signer: { sign: (claim) => keys().signer.sign(claim) },
    api: createPodApi(client, namespace),
    graceMs,
    isOwner,
    onPrinted: (replica, lines) => output.lines(replica, lines),
    onEnded: (replica) => output.ended(replica),
    onError: (error, what, fields) => log.warn({ err: error, ...fields }, what),
    createGo: ({ claims, builderOf, discard }) => new PodGoPrograms({ clock, artifacts, claims, builderOf, discard }),
  });
  const watch = new PodWatch({ client, namespace, clock, log, provider });
  return {
    provider,
    async start() {
      await watch.start();
      provider.start();
    },
    goOn: true,
    adopt: (revision) => provider.adopt(revision),
    release: (uid) => provider.release(uid, graceMs),
    setLeading: (leads) => (leads ? provider.scaler.start() : provider.scaler.stop()),
    async stop() {
      await provider.stop({ deadlineMs: 0 });
      await watch.stop();
    },
  };
}

/** Sandboxes of the gateway's own machine: for tests of a cluster without nodes. */
async function createLocalReplicas({
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
    start: async () => provider.start(),
    goOn: false,
    adopt: async () => [],
    release: async () => undefined,
    setLeading: () => undefined,
    async stop() {
      await provider.stop({ deadlineMs: 0 });
      await runtimes.stop();
    },
  };
}
