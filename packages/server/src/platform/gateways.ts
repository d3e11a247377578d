import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { KsError } from "@kube-serverless/contracts";
import type { Call, CallEntrance } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { ApiClient } from "../kubernetes/api-client.ts";
import { Reflector, type ReflectorLog } from "../kubernetes/reflector.ts";
import type { KubernetesObject, Persisted } from "../kubernetes/resource.ts";
import type { ProofKeys } from "../kubernetes/signing-keys.ts";
import type { FunctionLogs } from "../logs/function-logs.ts";
import { OwnedLogs, type OwnedLogsOptions } from "../logs/owned-logs.ts";
import { SharedCounters, type SharedCountersOptions } from "../metrics/shared-counters.ts";
import { KnownRevisions } from "../peers/known-revisions.ts";
import { handOn } from "../peers/moved-calls.ts";
import { createCommonQuestion, createOwnerQuestion, type OwnerQuestion } from "../peers/owner-questions.ts";
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
  /** Makes a question that goes to whoever owns the function; `answer` is how this gateway answers for its own. */
  askOwner<Answer>(name: string, answer: (uid: string) => Answer | Promise<Answer>): OwnerQuestion<Answer>;
  /** Makes a question that one gateway answers for all. */
  askOne<Answer, Params>(name: string, answer: (params: Params) => Answer | Promise<Answer>): OwnerQuestion<Answer, Params>;
  /** Makes what this gateway counts into counters of the whole cluster. */
  shareCounters(parts: CounterParts): SharedCounters;
  /** Makes logs of this gateway's own into those of the whole cluster. */
  shareLogs(parts: LogParts): FunctionLogs;
  /** Another gateway owns the function now: what waits here goes there, and what runs here ends here, or goes on there where it can. */
  retire(entry: FunctionEntry, goesOn: boolean): void;
  /** Dispatchers whose last calls end here, though their function has another owner. */
  retired(): Iterable<Dispatcher>;
  /** Names of those that are ready. */
  readonly members: readonly string[];
  forget(uid: string): void;
  /** Makes a question that all answer, this gateway first; it ends with the last answer, or without those that are gone. */
  askAll<Answer>(name: string, answer: (param: string) => Answer | Promise<Answer>): (param: string) => Promise<Answer[]>;
  start(): Promise<void>;
  /** The functions are loaded. */
  setReady(): void;
  /** Resolves when the others no longer count on this one. */
  drain(): Promise<void>;
  /** Resolves when the calls of this gateway's callers have ended at others, too, or at the deadline. */
  settle(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
}

export type CounterParts = Omit<SharedCountersOptions, "gateways">;
export type LogParts = Omit<OwnedLogsOptions, "gateways">;

export interface GatewaysOptions {
  client: ApiClient;
  config: Config;
  self: Self;
  clock: Clock;
  log: PeersLog & ReflectorLog;
  keys(): ProofKeys;
  registry: FunctionRegistry;
  /** A call that another gateway ran has ended for its caller here. */
  onForwardEnded(entry: FunctionEntry, call: Call, error: KsError | undefined): void;
}

/** With an address of its own a gateway has peers; without one, as in tests, it is alone. */
export function createGateways(options: GatewaysOptions): Gateways {
  const { registry, self } = options;
  const knows = (uid: string, generation: number): boolean => (registry.byUid(uid)?.stored.status.observedGeneration ?? 0) >= generation;
  return self.address === undefined ? new LoneGateway(self.name, knows) : new PeerGateways(options, self.address, knows);
}

type Knows = (uid: string, generation: number) => boolean;

class LoneGateway implements Gateways {
  readonly isKnownEverywhere: Knows;
  readonly members: readonly string[];

  constructor(name: string, knows: Knows) {
    this.members = [name];
    this.isKnownEverywhere = knows;
  }

  askOwner<Answer>(_name: string, answer: (uid: string) => Answer | Promise<Answer>): OwnerQuestion<Answer> {
    return answer;
  }

  askOne<Answer, Params>(_name: string, answer: (params: Params) => Answer | Promise<Answer>): OwnerQuestion<Answer, Params> {
    return answer;
  }

  shareCounters(parts: CounterParts): SharedCounters {
    const [selfId = ""] = this.members;
    const nobody = {
      successorOf: () => undefined,
      onOwnersChanged: () => () => undefined,
      request: async () => null,
      handle: () => undefined,
    };
    return new SharedCounters({ ...parts, gateways: { selfId, ownerOf: () => selfId, ...nobody } });
  }

  shareLogs({ own }: LogParts): FunctionLogs {
    return own;
  }

  retired(): Iterable<Dispatcher> {
    return [];
  }

  isOwner(): boolean {
    return true;
  }

  onOwnersChanged(): void {}
  retire(): void {}
  forget(): void {}

  askAll<Answer>(_name: string, answer: (param: string) => Answer | Promise<Answer>): (param: string) => Promise<Answer[]> {
    return async (param) => [await answer(param)];
  }

  async start(): Promise<void> {}
  setReady(): void {}
  async drain(): Promise<void> {}
  async settle(): Promise<void> {}
  async stop(): Promise<void> {}
}

class PeerGateways implements Gateways {
  readonly #peers: Peers;
  readonly #known: KnownRevisions;
  readonly #pods: Reflector<GatewayPod>;
  readonly #peerPort: number;
  readonly #selfId: string;
  readonly #retired = new Set<Dispatcher>();

  constructor(options: GatewaysOptions, address: string, knows: Knows) {
    const { client, config, self, clock, log, keys, registry } = options;
    this.#selfId = self.name;
    this.#peerPort = config.peerPort;
    this.#peers = createPeers({
      self: { id: self.name, address },
      clock,
      keys,
      log,
      dispatcherOf: (uid) => registry.byUid(uid)?.dispatcher(),
      onForwardEnded: (uid, call, error) => {
        const entry = registry.byUid(uid);
        if (entry !== undefined) options.onForwardEnded(entry, call, error);
      },
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

  askOwner<Answer>(name: string, answer: (uid: string) => Answer | Promise<Answer>): OwnerQuestion<Answer> {
    return createOwnerQuestion(this.#peers, this.#selfId, name, answer);
  }

  askOne<Answer, Params>(name: string, answer: (params: Params) => Answer | Promise<Answer>): OwnerQuestion<Answer, Params> {
    return createCommonQuestion(this.#peers, this.#selfId, name, answer);
  }

  shareCounters(parts: CounterParts): SharedCounters {
    return new SharedCounters({ ...parts, gateways: this.#peers });
  }

  shareLogs(parts: LogParts): FunctionLogs {
    return new OwnedLogs({ ...parts, gateways: this.#peers });
  }

  retire(entry: FunctionEntry, goesOn: boolean): void {
    const dispatcher = entry.takeDispatcher();
    if (dispatcher === undefined) return;
    this.#retired.add(dispatcher);
    const { uid } = entry.stored;
    dispatcher.retire((waiting) => handOn(waiting, entry.entrance(), this.#peers.ownerOf(uid)), !goesOn);
  }

  *retired(): Iterable<Dispatcher> {
    for (const dispatcher of this.#retired) {
      if (dispatcher.inFlight === 0) this.#retired.delete(dispatcher);
      else yield dispatcher;
    }
  }

  get members(): readonly string[] {
    return this.#peers.view.members;
  }

  forget(uid: string): void {
    this.#known.forget(uid);
  }

  askAll<Answer>(name: string, answer: (param: string) => Answer | Promise<Answer>): (param: string) => Promise<Answer[]> {
    this.#peers.handle(name, (params) => answer(String(params)));
    return async (param) => {
      const others = this.#peers.connected.map((id) => this.#peers.request(id, name, param) as Promise<Answer>);
      const answers = await Promise.allSettled([answer(param), ...others]);
      return answers.flatMap((answered) => (answered.status === "fulfilled" ? [answered.value] : []));
    };
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

  settle(deadlineMs: number): Promise<void> {
    return this.#peers.settle(deadlineMs);
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
