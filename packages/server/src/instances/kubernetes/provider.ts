import { KsError, languageOf, type RuntimeInfo } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import type { ProofSigner } from "../../protocol/proof.ts";
import { FrameReplica } from "../frame-replica.ts";
import { detectModuleKind } from "../module-kind.ts";
import type { CodeSource, PoolState, ReadyInfo, Replica, ReplicaProvider, ReplicaPurpose, RevisionRef } from "../port.ts";
import type { PrintedLines } from "../printed-lines.ts";
import { CheckCache } from "./check-cache.ts";
import { CheckedReplica } from "./checked-replica.ts";
import { ClusterView } from "./cluster-view.ts";
import { type GenericPod, GenericPods } from "./generic-pods.ts";
import { FRAMES_PORT, type PodClass, type PodView } from "./pod.ts";
import type { PodApi } from "./pod-api.ts";
import { PodClaims } from "./pod-claims.ts";
import { type PodAddress, PodLink } from "./pod-link.ts";
import { PodUpkeep } from "./pod-upkeep.ts";
import { PodWrites } from "./pod-writes.ts";
import type { PoolDeployment } from "./pool-deployment.ts";
import { PoolOffer } from "./pool-offer.ts";
import { PoolScaler } from "./pool-scaler.ts";
import { ServingPods, TELL_GRACE_MS } from "./serving-pods.ts";

/** Loading code may take so long. */
const LOAD_TIMEOUT_MS = 10_000;
const DIAL_TIMEOUT_MS = 5000;
/** Code that loads for longer is written down as claimed before it is ready. */
const LATE_CLAIM_MS = 250;
const LAST_WRITES_MS = 2000;
const MAX_POOL_SIZE = 20;
const KILL_GRACE_SECONDS = 1;

/** A compiled program, and how long it took to make; 0 where it was there. */
export interface GoProgram {
  program: Buffer;
  compileMs: number;
}

/** Go's part: programs, compiled in builder pods. */
export interface GoPrograms {
  /** Compiles, or finds compiled. @throws KsError `FUNCTION_FAILED` */
  build(revision: RevisionRef, code: string): Promise<GoProgram>;
}

export interface KubernetesProviderOptions {
  clock: Clock;
  /** Tells gateways apart; they then seldom want the same pod. */
  gatewayId: string;
  signer: Pick<ProofSigner, "sign">;
  api: PodApi;
  /** The longest that a replica has to end its calls. */
  graceMs: number;
  /** The functions whose replicas this gateway looks after. */
  isOwner(functionUid: string): boolean;
  onPrinted(replica: Replica, lines: PrintedLines): void;
  /** Nothing more comes of this replica. */
  onEnded(replica: Replica): void;
  onError(error: unknown, what: string, fields: Readonly<Record<string, unknown>>): void;
  /** Given builders of the provider's own pods. */
  createGo?(builders: GoBuilders): GoPrograms;
}

/** Pods that compile. */
export interface GoBuilders {
  claims: PodClaims;
  /** Those of a runtime. @throws KsError `FUNCTION_FAILED` */
  builderOf(runtime: string): { podClass: PodClass; image: string };
  /** A builder is used once. */
  discard(pod: PodView): void;
}

/** Replicas as pods: waiting ones are claimed, which takes no API call; others are started. */
export class KubernetesProvider implements ReplicaProvider {
  /** For the leader. */
  readonly scaler: PoolScaler;

  readonly #claims: PodClaims;
  readonly #options: KubernetesProviderOptions;
  readonly #clock: Clock;
  readonly #view = new ClusterView();
  readonly #generic: GenericPods;
  readonly #offer: PoolOffer;
  readonly #serving: ServingPods;
  readonly #upkeep: PodUpkeep;
  readonly #writes: PodWrites;
  readonly #checks = new CheckCache();
  readonly #moduleKinds = new WeakMap<RevisionRef, "commonjs" | "esm">();
  #go: GoPrograms | undefined;
  #nextId = 1;
  #stopping = false;

  constructor(options: KubernetesProviderOptions) {
    const { clock, gatewayId, api, graceMs, onError } = options;
    const view = this.#view;
    this.#options = options;
    this.#clock = clock;
    this.#writes = new PodWrites(api, clock, (error, pod) => onError(error, "a pod could not be written", { pod: pod.name }));
    this.#serving = new ServingPods(clock, this.#writes);
    this.#generic = new GenericPods({
      clock,
      dial: (address) => this.#dial(address),
      isOwn: (podUid) => this.#claims.isDirect(podUid),
      preference: (podUid) => hash(`${gatewayId}/${podUid}`),
      onDialFailed: (error, pod) => onError(error, "a waiting pod cannot be dialled", { pod: pod.metadata.name }),
      onOrphan: (pod) => this.#deleteUnchanged(pod),
    });
    this.#claims = new PodClaims({ clock, api, view, generic: this.#generic, onError });
    this.#upkeep = new PodUpkeep({
      clock,
      view,
      claims: this.#claims,
      serving: this.#serving,
      graceMs,
      isOwner: (uid) => options.isOwner(uid),
      discard: (pod) => this.discard(pod),
    });
    this.scaler = new PoolScaler({
      clock,
      api,
      deployments: () => view.deployments,
      maxSize: MAX_POOL_SIZE,
      onError: (error, { metadata }) => onError(error, "a pool could not be scaled", { deployment: metadata.name }),
    });
    this.#offer = new PoolOffer(view, this.#generic, this.scaler);
  }

  start(): void {
    this.#generic.start();
    this.#serving.start();
    this.#upkeep.start();
  }

  // What the API server says

  /** A pod is there, or has changed. */
  podChanged(pod: PodView, before: PodView | undefined): void {
    const { uid } = pod.metadata;
    this.#view.pods.set(uid, pod);
    if (before?.pool !== undefined && pod.pool === undefined) this.scaler.noteClaim(pod.podClass);
    if (this.#serving.has(uid)) return this.#serving.update(pod);
    const isWaiting = pod.pool !== undefined || this.#claims.isDirect(uid);
    if (!isWaiting || pod.isLeaving) return this.#generic.remove(uid);
    // An earlier function's /tmp may be there, though its process is not.
    if (pod.restarts > 0) this.discard(pod);
    else this.#generic.update(pod);
  }

  podGone(pod: PodView): void {
    const { uid } = pod.metadata;
    this.#view.pods.delete(uid);
    this.#claims.forget(uid);
    this.#generic.remove(uid);
    this.#serving.gone(uid);
  }

  deploymentChanged(deployment: PoolDeployment): void {
    this.#view.setDeployment(deployment);
  }

  deploymentGone(deployment: PoolDeployment): void {
    this.#view.deleteDeployment(deployment);
  }

  // Replicas

  startReplica(revision: RevisionRef, code: CodeSource, purpose: ReplicaPurpose): Replica {
    if (this.#stopping) throw new KsError("DRAINING");
    const podClass = classOf(revision);
    const image = this.#view.templateOf(podClass)?.image;
    if (image === undefined) throw sayNoRuntime(revision.spec.runtime);
    const source = code();
    const checked = purpose === "check" && typeof source === "string" ? this.#findChecked(revision, source, image) : undefined;
    if (checked !== undefined) return checked;
    // Go is compiled first, so that no waiting pod is held meanwhile.
    const first = languageOf(revision.spec.runtime) === "go" ? undefined : this.#claims.take(podClass);
    const replica = this.#createReplica(revision, first?.pod.metadata.name);
    this.#start(replica, first, source).catch((error: unknown) => startFailed(replica, error));
    if (purpose === "check") this.#rememberCheck(replica, source, image);
    return replica;
  }

  /** Replicas that another gateway has left, of pods that the API server says are this revision's. */
  async adopt(revision: RevisionRef): Promise<Replica[]> {
    const candidates = [...this.#view.pods.values()].filter((pod) => isPodOf(pod, revision) && !this.#serving.has(pod.metadata.uid));
    const adopted = await Promise.all(candidates.map((pod) => this.#adoptOne(revision, pod)));
    return adopted.filter((replica) => replica !== undefined);
  }

  /** Another gateway owns the function now: its replicas go on there. Resolves when this gateway has let go of them. */
  async release(functionUid: string, deadlineMs: number): Promise<void> {
    const mine = [...this.#serving.entries()].filter(({ replica }) => replica.revision.uid === functionUid);
    await Promise.all(mine.map(({ replica }) => this.#serving.release(replica, deadlineMs)));
  }

  /** Deletes a pod that is used up. */
  discard({ metadata: { name, uid } }: PodView): void {
    this.#claims.forget(uid);
    this.#generic.remove(uid);
    this.#writes.delete({ name, uid }, KILL_GRACE_SECONDS);
  }

  #builderOf(runtime: string): { podClass: PodClass; image: string } {
    const builder = this.#view.builderOf(runtime);
    if (builder === undefined) throw sayNoRuntime(runtime);
    return builder;
  }

  runtimes(): readonly RuntimeInfo[] {
    return this.#offer.runtimes();
  }

  installHint(runtime: string): string {
    return `Enable the runtime ${runtime} in the chart's values (runtimes.${runtime}.enabled), with an image of it`;
  }

  degraded(): readonly string[] {
    return this.#offer.degraded();
  }

  async poolState(): Promise<readonly PoolState[]> {
    return this.#offer.pools();
  }

  /** Claims and deletions that the API server has not taken yet. */
  get pendingWrites(): number {
    return this.#writes.pending;
  }

  /** Lets every pod go on without this gateway. */
  async stop({ deadlineMs }: { deadlineMs: number }): Promise<void> {
    this.#stopping = true;
    this.scaler.stop();
    this.#upkeep.stop();
    await Promise.all([...this.#serving.entries()].map(({ replica }) => this.#serving.release(replica, deadlineMs)));
    this.#generic.stop();
    this.#serving.stop();
    await this.#writes.settle(LAST_WRITES_MS);
  }

  async #start(replica: FrameReplica, first: GenericPod | undefined, source: string | Promise<string>): Promise<void> {
    // It may fail while the pod is being claimed: read then, told below.
    const reading = Promise.resolve(source);
    reading.catch(() => undefined);
    const { revision } = replica;
    const built = languageOf(revision.spec.runtime) === "go" ? await this.#build(revision, await reading) : undefined;
    const podClass = classOf(revision);
    const claimsAtMs = this.#clock.monotonicMs();
    const waiting = await this.#claims.claimWaiting(first ?? this.#claims.take(podClass), podClass);
    const isWanted = (): boolean => !replica.ending && !replica.ended;
    const claimed = waiting ?? (await this.#claims.claimStarted(revision, podClass, isWanted));
    try {
      const code = await reading;
      if (!isWanted()) throw new KsError("DRAINING");
      const startMs = waiting === undefined ? this.#clock.monotonicMs() - claimsAtMs : 0;
      this.#specialise(replica, claimed, code, { fromPool: waiting !== undefined, startMs }, built);
    } catch (error) {
      // Nothing of the function has reached it; but a token is good for one claim.
      claimed.link.close();
      this.discard(claimed.pod);
      throw error;
    }
  }

  async #build(revision: RevisionRef, code: string): Promise<GoProgram> {
    this.#go ??= this.#options.createGo?.({
      claims: this.#claims,
      builderOf: (runtime) => this.#builderOf(runtime),
      discard: (pod) => this.discard(pod),
    });
    if (this.#go === undefined) throw sayNoRuntime(revision.spec.runtime);
    return this.#go.build(revision, code);
  }

  #specialise(
    replica: FrameReplica,
    { pod, link }: GenericPod,
    code: string,
    start: Pick<ReadyInfo, "fromPool" | "startMs">,
    built: GoProgram | undefined,
  ): void {
    const { revision } = replica;
    const { name, uid } = pod.metadata;
    this.#claimLater(replica, { name, uid });
    const transport = this.#serving.connect(replica, pod, link);
    this.#claims.forget(uid);
    this.#generic.remove(uid);
    replica.specialise(transport, {
      code: Buffer.from(built === undefined ? code : ""),
      module: languageOf(revision.spec.runtime) === "nodejs" ? this.#moduleKind(revision, code) : undefined,
      concurrency: revision.spec.concurrency,
      runtimeVersion: link.hello.version,
      ...start,
      ...(built === undefined ? {} : { artifact: built.program, compileMs: built.compileMs }),
    });
  }

  /** The API server learns of a claim after the function has begun to serve, as nothing waits for that. */
  #claimLater(replica: FrameReplica, pod: { name: string; uid: string }): void {
    const claim = (): void => {
      if (!replica.ending && !replica.ended) this.#writes.claim(pod, replica.revision);
    };
    const late = this.#clock.setTimer(LATE_CLAIM_MS, claim);
    replica.ready.then(claim, () => undefined).finally(() => late.cancel());
  }

  async #adoptOne(revision: RevisionRef, pod: PodView): Promise<Replica | undefined> {
    let link: PodLink;
    try {
      link = await this.#dial({ uid: pod.metadata.uid, ip: pod.ip!, port: FRAMES_PORT });
    } catch {
      // It may be at its end; upkeep deletes it if not.
      return undefined;
    }
    const { state, functionUid, revision: said, version } = link.hello;
    if (this.#stopping || this.#serving.has(pod.metadata.uid)) {
      link.close();
      return undefined;
    }
    // A hint, no more: what decides is the API object. But one that says otherwise is of no use.
    if (state !== "specialised" || functionUid !== revision.uid || said !== revision.revision) {
      link.close();
      this.discard(pod);
      return undefined;
    }
    const replica = this.#createReplica(revision, pod.metadata.name);
    // Nobody waited for it: no call through it is a cold start.
    const ready = { atMs: Number.NEGATIVE_INFINITY, fromPool: true, startMs: 0, loadMs: 0, runtimeVersion: version };
    replica.adopt(this.#serving.connect(replica, pod, link), ready);
    return replica;
  }

  #dial(address: PodAddress): Promise<PodLink> {
    return PodLink.dial(address, { clock: this.#clock, signer: this.#options.signer, timeoutMs: DIAL_TIMEOUT_MS });
  }

  #createReplica(revision: RevisionRef, podName: string | undefined): FrameReplica {
    const { clock, graceMs, onPrinted, onEnded } = this.#options;
    const replica: FrameReplica = new FrameReplica({
      id: podName ?? `${revision.spec.runtime}-${this.#nextId++}`,
      revision,
      clock,
      loadTimeoutMs: LOAD_TIMEOUT_MS,
      leaveGraceMs: graceMs,
      tellGraceMs: TELL_GRACE_MS,
      onPrinted: (lines) => onPrinted(replica, lines),
      onAbandoned: () => undefined,
      onLoad: (load) => this.#serving.noteLoad(replica, load),
    });
    void replica.exited.then(() => onEnded(replica));
    return replica;
  }

  /** A check whose result is known, unless its replica would serve right away. */
  #findChecked(revision: RevisionRef, code: string, image: string): Replica | undefined {
    for (const { replica } of this.#serving.entries()) if (replica.revision.uid === revision.uid) return undefined;
    const runtimeVersion = this.#checks.find(this.#checks.keyOf(revision, code, image));
    if (runtimeVersion === undefined) return undefined;
    return new CheckedReplica(revision, { atMs: this.#clock.monotonicMs(), fromPool: true, startMs: 0, loadMs: 0, runtimeVersion });
  }

  #rememberCheck(replica: FrameReplica, source: string | Promise<string>, image: string): void {
    const remember = async (): Promise<void> => {
      const { runtimeVersion } = await replica.ready;
      this.#checks.add(this.#checks.keyOf(replica.revision, await source, image), runtimeVersion);
    };
    remember().catch(() => undefined);
  }

  #moduleKind(revision: RevisionRef, code: string): "commonjs" | "esm" {
    let kind = this.#moduleKinds.get(revision);
    if (kind === undefined) this.#moduleKinds.set(revision, (kind = detectModuleKind(code)));
    return kind;
  }

  /** A claim that is on its way changes the pod, and keeps it. */
  #deleteUnchanged({ metadata: { name, uid, resourceVersion } }: PodView): void {
    this.#writes.delete({ name, uid, resourceVersion }, KILL_GRACE_SECONDS);
  }
}

function startFailed(replica: FrameReplica, error: unknown): void {
  const known =
    error instanceof KsError
      ? error
      : new KsError("INTERNAL", { message: `Internal server error: ${(error as Error).message}`, cause: error });
  replica.end(known.code === "FUNCTION_FAILED" ? "failed" : "crashed", known);
}

function classOf({ spec }: RevisionRef): PodClass {
  return { runtime: spec.runtime, memoryMiB: spec.memory, network: spec.network, isBuilder: false };
}

/** Only what the API server says counts: the pod belongs to the Function, and to this revision of it. */
function isPodOf(pod: PodView, { uid, revision }: RevisionRef): boolean {
  const { controller } = pod;
  const isOwned = controller?.kind === "Function" && controller.uid === uid && pod.functionUid === uid && pod.revision === revision;
  return isOwned && pod.isRunning && !pod.isLeaving && pod.restarts === 0 && pod.ip !== undefined;
}

function sayNoRuntime(runtime: string): KsError {
  const message = `RuntimeNotFound: there is no pool of the runtime ${runtime}. Enable it in the chart's values, with an image of it`;
  return new KsError("FUNCTION_FAILED", { message, details: { reason: "RuntimeNotFound", message } });
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
