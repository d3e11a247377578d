import { createConnection } from "node:net";
import { languageOf } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../../clock.ts";
import { describeExit, type ProcessExit } from "../describe-exit.ts";
import type { FrameReplica, ReplicaLoad, ReplicaTransport } from "../frame-replica.ts";
import { sayDrained, sayPodLost } from "../replica-errors.ts";
import { type ContainerEnd, FRAMES_PORT, type PodView } from "./pod.ts";
import type { PodLink } from "./pod-link.ts";
import type { PodWrites } from "./pod-writes.ts";

const PING_INTERVAL_MS = 500;
/** Without a sign of life for so long, the pod's kernel is asked: a handler may hold its event loop for as long as it likes. */
const SILENCE_MS = 1000;
const PROBE_TIMEOUT_MS = 1000;
/** The API server tells within this time why a container ended: kubelet looks each second, and tells a moment later. */
const REASON_TIMEOUT_MS = 4000;
/** Longer than it takes to ask. */
export const TELL_GRACE_MS = 2 * REASON_TIMEOUT_MS;
/** V8 says before it aborts how large its heap was, such as `Mark-Compact 78.3 (82.9) -> 77.9 (83.1) MB`. */
const HEAP_SIZE = /\(\d+(?:\.\d+)?\) -> \d+(?:\.\d+)? \((\d+(?:\.\d+)?)\) MB/g;
/** For a pod whose function is not there any more, or does not listen. */
const KILL_GRACE_SECONDS = 1;

interface Serving {
  readonly replica: FrameReplica;
  readonly link: PodLink;
  pod: PodView;
  peakMiB: number | undefined;
  /** Calls of all gateways, as the pod said last. */
  inFlight: number;
  probing: boolean;
  /** Nobody answers for its pod: nobody will tell why it ended, either. */
  unreachable: boolean;
  /** Another gateway's from now on: the pod stays. */
  released: boolean;
  /** Told the state of the pod, once its connection is gone. */
  onUpdate: ((pod: PodView) => void) | undefined;
}

/** Pods that run functions of this gateway: alive or not, and why they end. Each is deleted when its connection is gone. */
export class ServingPods {
  readonly #clock: Clock;
  readonly #writes: PodWrites;
  readonly #serving = new Map<string, Serving>();
  readonly #byReplica = new WeakMap<FrameReplica, Serving>();
  #pings: Timer | undefined;

  constructor(clock: Clock, writes: PodWrites) {
    this.#clock = clock;
    this.#writes = writes;
  }

  start(): void {
    const tick = (): void => {
      this.#pings = this.#clock.setTimer(PING_INTERVAL_MS, tick);
      for (const serving of this.#serving.values()) this.#lookAfter(serving);
    };
    tick();
  }

  stop(): void {
    this.#pings?.cancel();
  }

  has(podUid: string): boolean {
    return this.#serving.has(podUid);
  }

  get size(): number {
    return this.#serving.size;
  }

  /** Pods and replicas of this gateway. */
  *entries(): Generator<{ pod: PodView; replica: FrameReplica }> {
    for (const { pod, replica } of this.#serving.values()) yield { pod, replica };
  }

  noteLoad(replica: FrameReplica, { inFlight, peakMiB }: ReplicaLoad): void {
    const serving = this.#byReplica.get(replica);
    if (serving === undefined) return;
    serving.inFlight = inFlight;
    serving.peakMiB = peakMiB ?? serving.peakMiB;
  }

  /** Takes the pod over for the replica; the link is handed over to its frames. */
  connect(replica: FrameReplica, pod: PodView, link: PodLink): ReplicaTransport {
    const serving: Serving = {
      replica,
      link,
      pod,
      peakMiB: undefined,
      inFlight: 0,
      probing: false,
      unreachable: false,
      released: false,
      onUpdate: undefined,
    };
    this.#serving.set(pod.metadata.uid, serving);
    this.#byReplica.set(replica, serving);
    const socket = link.handOver();
    link.onClosed = () => void this.#closed(serving);
    return { socket, kill: () => socket.destroy() };
  }

  /** News of the API server about a pod that serves. */
  update(pod: PodView): void {
    const serving = this.#serving.get(pod.metadata.uid);
    if (serving === undefined) return;
    serving.pod = pod;
    serving.onUpdate?.(pod);
  }

  /** The pod was removed from the API server, so nobody looks after its container. */
  gone(podUid: string): void {
    this.#serving.get(podUid)?.link.close();
  }

  /** Lets the pod go on without this gateway, once the calls within have ended or the time is over. */
  async release(replica: FrameReplica, deadlineMs: number): Promise<void> {
    const serving = this.#byReplica.get(replica);
    if (serving === undefined) return replica.kill();
    serving.released = true;
    await this.#untilIdle(replica, deadlineMs);
    serving.link.close();
  }

  #untilIdle(replica: FrameReplica, deadlineMs: number): Promise<void> {
    const endsAtMs = this.#clock.monotonicMs() + deadlineMs;
    return new Promise((resolve) => {
      const look = (): void => {
        if (replica.inFlight === 0 || replica.ended || this.#clock.monotonicMs() >= endsAtMs) resolve();
        else this.#clock.setTimer(20, look);
      };
      look();
    });
  }

  /** The connection is gone, for whatever reason: the pod is never used again. */
  async #closed(serving: Serving): Promise<void> {
    const { replica, link } = serving;
    // A pod that another gateway was faster with is not ours to end.
    if (serving.released || link.taken) {
      this.#serving.delete(serving.pod.metadata.uid);
      replica.end("drained", sayDrained());
      return;
    }
    if (replica.ending) {
      // Calls of an earlier owner may end there. What was given up may go on for ever, and a handler that holds its event loop hears no SIGTERM.
      this.#forget(serving, replica.leaving && serving.inFlight > 0 ? undefined : KILL_GRACE_SECONDS);
      replica.end("drained", sayDrained());
      return;
    }
    const end = await this.#findEnd(serving);
    this.#forget(serving, KILL_GRACE_SECONDS);
    const { revision } = replica;
    const memoryMiB = revision.spec.memory;
    const words = `${replica.lastStderr}${end?.message ?? ""}`;
    const { reason, error } = describeExit(
      describeEnd(end, memoryMiB, highest(serving.peakMiB, readHeapMiB(words))),
      languageOf(revision.spec.runtime),
      memoryMiB,
      words,
    );
    // A pod that is deleted, or lost with its node, says nothing about code that it had not loaded yet.
    const isLost = replica.readyInfo === undefined && error.code === "FUNCTION_CRASHED" && (end === undefined || serving.pod.isLeaving);
    replica.end(reason, isLost ? sayPodLost(error) : error);
  }

  #forget({ pod }: Serving, graceSeconds: number | undefined): void {
    this.#serving.delete(pod.metadata.uid);
    this.#writes.delete({ name: pod.metadata.name, uid: pod.metadata.uid }, graceSeconds);
  }

  /** Why the container ended, where the API server knows it in time. */
  #findEnd(serving: Serving): Promise<ContainerEnd | undefined> {
    if (serving.pod.end !== undefined || serving.unreachable) return Promise.resolve(serving.pod.end);
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(REASON_TIMEOUT_MS, () => resolve(undefined));
      serving.onUpdate = ({ end }) => {
        if (end === undefined) return;
        timer.cancel();
        resolve(end);
      };
    });
  }

  #lookAfter(serving: Serving): void {
    const { replica, link } = serving;
    if (link.closed) return;
    replica.ping();
    const heardAtMs = Math.max(replica.pongAtMs, link.heardAtMs);
    if (serving.probing || this.#clock.monotonicMs() - heardAtMs < SILENCE_MS + PING_INTERVAL_MS) return;
    serving.probing = true;
    void this.#probe(serving.pod.ip ?? "").then((isThere) => {
      serving.probing = false;
      if (isThere) return;
      serving.unreachable = true;
      link.close();
    });
  }

  /** The kernel answers for a process that is busy; nobody answers for a node that is lost. */
  #probe(host: string): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection({ host, port: FRAMES_PORT });
      const settle = (isThere: boolean): void => {
        timer.cancel();
        socket.destroy();
        resolve(isThere);
      };
      const timer = this.#clock.setTimer(PROBE_TIMEOUT_MS, () => settle(false));
      socket.once("connect", () => settle(true));
      socket.once("error", () => settle(false));
    });
  }
}

function describeEnd(end: ContainerEnd | undefined, memoryMiB: number, peakMiB: number | undefined): ProcessExit {
  if (end === undefined) return { code: null, signal: "a lost connection", ...(peakMiB === undefined ? {} : { peakMiB }) };
  // The kernel ends a container when it has used all that its limit allows.
  const outOfMemory = end.reason === "OOMKilled" ? { outOfMemory: { limitMiB: memoryMiB, peakMiB: memoryMiB } } : {};
  const signal = end.exitCode > 128 ? `signal ${end.exitCode - 128}` : null;
  return { code: signal === null ? end.exitCode : null, signal, ...outOfMemory, ...(peakMiB === undefined ? {} : { peakMiB }) };
}

function readHeapMiB(words: string): number | undefined {
  return highest(...[...words.matchAll(HEAP_SIZE)].map(([, size]) => Number(size)));
}

function highest(...figures: (number | undefined)[]): number | undefined {
  const known = figures.filter((figure) => figure !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}
