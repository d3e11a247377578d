import { createServer } from "node:net";
import { once } from "node:events";
import type { KsError } from "@kube-serverless/contracts";
import { type Clock, systemClock } from "../../clock.ts";
import { Call, type CallEntrance, type CallReceiver } from "../../dispatch/call.ts";
import { Dispatcher } from "../../dispatch/dispatcher.ts";
import { compileScalingPolicy } from "../../dispatch/function-scaler.ts";
import type { ResponseHead } from "../../instances/port.ts";
import { buildPublicKeySet, ProofSigner, ProofVerifier } from "../../protocol/proof.ts";
import type { PeerIdentity, PeerKeys } from "../handshake.ts";
import { handOn } from "../moved-calls.ts";
import { createPeers, type Peers, type PeersOptions } from "../peers.ts";
import { ScriptedProvider } from "./scripted-replica.ts";

/** Of what a test leaves behind, such as queues with a time limit, nothing keeps its process. */
const looseClock: Clock = {
  ...systemClock,
  setTimer(delayMs, fire) {
    const handle = setTimeout(fire, Math.max(0, delayMs)).unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

export function keysOf(privateKeyPem: string): PeerKeys {
  return { signer: new ProofSigner(privateKeyPem), verifier: new ProofVerifier(buildPublicKeySet([privateKeyPem])) };
}

/** Addresses of gateways, each on a loopback address of its own. */
export async function freeAddresses(count: number): Promise<string[]> {
  const addresses: string[] = [];
  for (let i = 0; i < count; i++) {
    const host = `127.0.0.${2 + i}`;
    const server = createServer().listen(0, host);
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, "close");
    addresses.push(`${host}:${port}`);
  }
  return addresses;
}

/** What came of a call, as its caller sees it. */
export interface CallResult {
  status: number | undefined;
  body: Buffer;
  error: KsError | undefined;
  call: Call;
}

class Collector implements CallReceiver {
  readonly #settle: (result: CallResult) => void;
  readonly #credits: boolean;
  readonly #pieces: Buffer[] = [];

  constructor(settle: (result: CallResult) => void, credits: boolean) {
    this.#settle = settle;
    this.#credits = credits;
  }

  get receivedBytes(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  onHead(call: Call, _head: ResponseHead, piece: Buffer, more: boolean): void {
    this.#pieces.push(piece);
    if (!more) this.#done(call, undefined);
  }

  onData(call: Call, piece: Buffer, more: boolean): void {
    this.#pieces.push(piece);
    if (!more) this.#done(call, undefined);
    else if (this.#credits) call.handle?.credit(piece.length);
  }

  onFailed(call: Call, error: KsError): void {
    this.#done(call, error);
  }

  #done(call: Call, error: KsError | undefined): void {
    this.#settle({ status: call.status, body: Buffer.concat(this.#pieces), error, call });
  }
}

export interface TestCall {
  call: Call;
  result: Promise<CallResult>;
  receivedBytes(): number;
}

export interface TestGatewayOptions extends Partial<Omit<PeersOptions, "self" | "keys">> {
  concurrency?: number;
  maxReplicas?: number;
  queueTimeoutMs?: number;
}

/** A gateway as far as its peers see it: real dispatchers, replicas that do what a call's path says. */
export class TestGateway {
  readonly id: string;
  readonly self: PeerIdentity;
  readonly peers: Peers;
  readonly provider: ScriptedProvider;
  /** Functions this gateway does not know. */
  readonly unknown = new Set<string>();
  readonly logged: string[] = [];
  /** Ends of calls in this gateway's own replicas. */
  readonly ended: { call: Call; error: KsError | undefined }[] = [];
  readonly #dispatchers = new Map<string, Dispatcher>();
  readonly #options: TestGatewayOptions;
  #calls = 0;

  constructor(self: PeerIdentity, keys: PeerKeys, options: TestGatewayOptions = {}) {
    this.id = self.id;
    this.self = self;
    this.#options = options;
    this.provider = new ScriptedProvider(self.id, looseClock);
    const note = (_fields: object, message: string): void => void this.logged.push(message);
    this.peers = createPeers({
      self,
      clock: systemClock,
      keys: () => keys,
      log: { info: note, warn: note },
      dispatcherOf: (uid) => (this.unknown.has(uid) ? undefined : this.dispatcher(uid)),
      ...options,
    });
    this.peers.onOwnersChanged(() => this.#followOwners());
  }

  /** What platforms do when owners change. */
  #followOwners(): void {
    for (const [uid, dispatcher] of this.#dispatchers) {
      const owner = this.peers.ownerOf(uid);
      if (owner === this.id) continue;
      this.#dispatchers.delete(uid);
      dispatcher.retire((waiting) => handOn(waiting, this.#entrance(uid), this.peers.ownerOf(uid)), true);
    }
  }

  async start(candidates: readonly PeerIdentity[]): Promise<void> {
    await this.peers.start(candidates);
    this.peers.setState("ready");
  }

  dispatcher(uid: string): Dispatcher {
    let dispatcher = this.#dispatchers.get(uid);
    if (dispatcher === undefined) this.#dispatchers.set(uid, (dispatcher = this.#createDispatcher(uid)));
    return dispatcher;
  }

  call(uid: string, path: string, body: readonly Buffer[] = [], credits = true): TestCall {
    const { promise, resolve } = Promise.withResolvers<CallResult>();
    const entrance = this.#entrance(uid);
    const head = {
      id: `${this.id}-${this.#calls++}`,
      method: "POST",
      path,
      query: { a: "1" },
      headers: { "x-some": "thing" },
      trigger: { type: "http" as const },
      timeoutMs: 5000,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    const receiver = new Collector(resolve, credits);
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    const call = new Call(entrance, head, body, bytes, receiver, systemClock.monotonicMs());
    entrance.submit(call);
    return { call, result: promise, receivedBytes: () => receiver.receivedBytes };
  }

  #entrance(uid: string): CallEntrance {
    return this.peers.entrance(uid, { dispatcher: () => this.dispatcher(uid) });
  }

  #createDispatcher(uid: string): Dispatcher {
    const { concurrency = 100, maxReplicas = 1, queueTimeoutMs = 60_000 } = this.#options;
    const spec = {
      name: uid,
      runtime: "nodejs18",
      handler: "index.handler",
      environment: {},
      minReplicas: 0,
      maxReplicas,
      triggers: [],
      timeout: 5,
      memory: 256,
      concurrency,
      network: "outbound" as const,
    };
    const dispatcher = new Dispatcher(spec, {
      clock: looseClock,
      provider: this.provider,
      queueLimits: { maxCalls: 1000, maxBytes: 64 * 1024 * 1024 },
      queueTimeoutMs,
      policy: compileScalingPolicy(60_000),
      onCallEnded: (call, error) => this.ended.push({ call, error }),
    });
    dispatcher.serve({ revision: { uid, name: uid, revision: 4, spec }, code: () => "" }, []);
    return dispatcher;
  }
}

/** Gateways that know each other, in this process. */
export class TestCluster {
  readonly gateways: TestGateway[] = [];
  readonly identities: PeerIdentity[];
  readonly #keys: PeerKeys;
  readonly #options: TestGatewayOptions;

  private constructor(identities: PeerIdentity[], keys: PeerKeys, options: TestGatewayOptions) {
    this.identities = identities;
    this.#keys = keys;
    this.#options = options;
  }

  /** @param started how many of them start at once; the others are candidates that may come later */
  static async start(privateKeyPem: string, count: number, options: TestGatewayOptions = {}, started = count): Promise<TestCluster> {
    const addresses = await freeAddresses(count);
    const identities = addresses.map((address, i) => ({ id: `gateway-${i}`, address }));
    const cluster = new TestCluster(identities, keysOf(privateKeyPem), options);
    await Promise.all(identities.slice(0, started).map((_, index) => cluster.add(index)));
    return cluster;
  }

  async add(index: number): Promise<TestGateway> {
    const gateway = new TestGateway(this.identities[index]!, this.#keys, this.#options);
    this.gateways.push(gateway);
    await gateway.start(this.identities);
    return gateway;
  }

  gateway(id: string): TestGateway {
    return this.gateways.find((gateway) => gateway.id === id)!;
  }

  /** A function that this gateway owns, in the view of all. */
  uidOwnedBy(id: string): string {
    for (let i = 0; ; i++) if (this.gateways[0]!.peers.ownerOf(`function-${i}`) === id) return `function-${i}`;
  }

  async agreed(members: readonly string[] = this.gateways.map(({ id }) => id)): Promise<void> {
    const wanted = [...members].sort().join();
    await waitUntil(() =>
      this.gateways.filter(({ id }) => members.includes(id)).every(({ peers }) => peers.view.members.join() === wanted),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.gateways.map(({ peers }) => peers.stop()));
  }
}

/** @throws when the condition does not come true within the bound */
export async function waitUntil(isTrue: () => boolean, limitMs = 15_000): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (!isTrue()) {
    if (performance.now() > untilMs) throw new Error(`did not come true within ${limitMs} ms: ${isTrue.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
