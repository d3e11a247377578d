import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { CallEntrance } from "../dispatch/call.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { ApiClient } from "../kubernetes/api-client.ts";
import { Reflector, type ReflectorLog } from "../kubernetes/reflector.ts";
import type { KubernetesObject, Persisted } from "../kubernetes/resource.ts";
import type { ProofKeys } from "../kubernetes/signing-keys.ts";
import { KnownRevisions } from "../peers/known-revisions.ts";
import { moveWaitingCalls } from "../peers/moved-calls.ts";
import { createPeers, type Peers, type PeersLog } from "../peers/peers.ts";
import type { Self } from "./cluster.ts";

/** The chart gives it to the pods of gateways. */
const SELECTOR = "app.kubernetes.io/name=kube-serverless,app.kubernetes.io/component=server";

interface GatewayPod extends KubernetesObject {
  status?: { podIP?: string };
}

/** The gateways of the cluster, as far as this one's house is concerned. */
export interface Gateways {
  isOwner(uid: string): boolean;
  onOwnersChanged(listener: () => void): void;
  /** Where calls are handed in, whoever owns the function; undefined where this gateway is alone. */
  createEntrance?(entry: FunctionEntry): CallEntrance;
  isKnownEverywhere(uid: string, generation: number): boolean | Promise<boolean>;
  /** Another gateway owns the function now: what waits here goes there. */
  moveWaiting(entry: FunctionEntry): void;
  forget(uid: string): void;
  start(): Promise<void>;
  /** The functions are loaded. */
  setReady(): void;
  /** Resolves when the others no longer count on this one. */
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface GatewaysOptions {
  client: ApiClient;
  config: Config;
  self: Self;
  clock: Clock;
  log: PeersLog & ReflectorLog;
  keys(): ProofKeys;
  registry: FunctionRegistry;
}

/** With an address of its own a gateway has peers; without one, as in tests, it is alone. */
export function createGateways(options: GatewaysOptions): Gateways {
  const { registry, self } = options;
  const knows = (uid: string, generation: number): boolean => (registry.byUid(uid)?.stored.status.observedGeneration ?? 0) >= generation;
  return self.address === undefined ? new LoneGateway(knows) : new PeerGateways(options, self.address, knows);
}

type Knows = (uid: string, generation: number) => boolean;

class LoneGateway implements Gateways {
  readonly isKnownEverywhere: Knows;

  constructor(knows: Knows) {
    this.isKnownEverywhere = knows;
  }

  isOwner(): boolean {
    return true;
  }

  onOwnersChanged(): void {}
  moveWaiting(): void {}
  forget(): void {}
  async start(): Promise<void> {}
  setReady(): void {}
  async drain(): Promise<void> {}
  async stop(): Promise<void> {}
}

class PeerGateways implements Gateways {
  readonly #peers: Peers;
  readonly #known: KnownRevisions;
  readonly #pods: Reflector<GatewayPod>;
  readonly #peerPort: number;

  constructor({ client, config, self, clock, log, keys, registry }: GatewaysOptions, address: string, knows: Knows) {
    this.#peerPort = config.peerPort;
    this.#peers = createPeers({
      self: { id: self.name, address },
      clock,
      keys,
      log,
      dispatcherOf: (uid) => registry.byUid(uid)?.dispatcher(),
    });
    this.#known = new KnownRevisions({ selfId: self.name, peers: this.#peers, knows });
    this.#pods = new Reflector<GatewayPod>({
      client,
      resource: { apiVersion: "v1", kind: "Pod", plural: "pods", namespace: config.systemNamespace },
      clock,
      log,
      labelSelector: SELECTOR,
      transform: ({ metadata, status }): Persisted<GatewayPod> => ({
        metadata,
        status: status?.podIP === undefined ? {} : { podIP: status.podIP },
      }),
      onChange: () => this.#peers.setCandidates(this.#candidates()),
      onGone: () => this.#peers.setCandidates(this.#candidates()),
    });
  }

  isOwner(uid: string): boolean {
    return this.#peers.isOwner(uid);
  }

  onOwnersChanged(listener: () => void): void {
    this.#peers.onOwnersChanged(listener);
  }

  createEntrance(entry: FunctionEntry): CallEntrance {
    return this.#peers.entrance(entry.stored.uid, entry);
  }

  isKnownEverywhere(uid: string, generation: number): boolean | Promise<boolean> {
    return this.#known.isKnownEverywhere(uid, generation);
  }

  moveWaiting(entry: FunctionEntry): void {
    moveWaitingCalls(entry);
  }

  forget(uid: string): void {
    this.#known.forget(uid);
  }

  async start(): Promise<void> {
    await this.#pods.start();
    await this.#peers.start(this.#candidates());
  }

  setReady(): void {
    this.#peers.setState("ready");
  }

  drain(): Promise<void> {
    return this.#peers.drain();
  }

  async stop(): Promise<void> {
    await this.#pods.stop();
    await this.#peers.stop();
  }

  #candidates(): { id: string; address: string }[] {
    const found: { id: string; address: string }[] = [];
    for (const { metadata, status } of this.#pods.values()) {
      if (status?.podIP !== undefined) found.push({ id: metadata.name, address: formatPeerAddress(status.podIP, this.#peerPort) });
    }
    return found;
  }
}

/** `host:port`, an IPv6 address in brackets. */
export function formatPeerAddress(ip: string, port: number): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}
