import type { Clock, Timer } from "../../clock.ts";
import { FRAMES_PORT, type PodClass, podClassKey, type PodView } from "./pod.ts";
import type { PodAddress, PodLink } from "./pod-link.ts";

const PING_INTERVAL_MS = 1000;
/** A pod that has not answered for so long is not claimed: its node may be lost. */
const SILENCE_MS = 3000;
/** Nor used any more after so long. */
const GIVE_UP_MS = 15_000;
const FIRST_REDIAL_MS = 100;
const MAX_REDIAL_MS = 5000;
/** A pod of the pool that may have run user code may be another gateway's, whose claim is about to be written. */
const ORPHAN_MS = 15_000;
/**
 * What a token proves begins when it is left. Another gateway's claim is written within milliseconds of its function's start, so
 * that a pod which still is of the pool this long afterwards had run nothing when it was dialled.
 */
const MATURE_MS = 1000;

/** A pod that waits for a function, with this gateway's token in it. */
export interface GenericPod {
  readonly pod: PodView;
  readonly link: PodLink;
}

export interface GenericPodsOptions {
  clock: Clock;
  dial(address: PodAddress): Promise<PodLink>;
  /** Started by this gateway, for itself: no other dials it. */
  isOwn(podUid: string): boolean;
  /** How much this gateway likes a pod, so that gateways seldom want the same. */
  preference(podUid: string): number;
  /** Dialling failed; it goes on. */
  onDialFailed(error: unknown, pod: PodView): void;
  /** The pod is not generic, and nobody has claimed it. */
  onOrphan(pod: PodView): void;
}

/** One pod of a pool as this gateway sees it. */
interface Member {
  pod: PodView;
  link: PodLink | undefined;
  dialling: boolean;
  tries: number;
  timer: Timer | undefined;
  isMature: boolean;
  /** It may have run user code: it said so, or its connection ended. It is never dialled again. */
  usedSinceMs: number | undefined;
}

interface Waiter {
  key: string;
  resolve(found: GenericPod | undefined): void;
}

/** Every pod that waits for a function: dialled, with a token left in it, so that a claim finds it at once. */
export class GenericPods {
  readonly #options: GenericPodsOptions;
  readonly #clock: Clock;
  readonly #members = new Map<string, Member>();
  #waiters: Waiter[] = [];
  #pings: Timer | undefined;
  #stopped = false;

  constructor(options: GenericPodsOptions) {
    this.#options = options;
    this.#clock = options.clock;
  }

  start(): void {
    const tick = (): void => {
      this.#pings = this.#clock.setTimer(PING_INTERVAL_MS, tick);
      for (const member of this.#members.values()) this.#lookAfter(member);
    };
    tick();
  }

  /** A pod of the pool is there, or has changed. */
  update(pod: PodView): void {
    const member = this.#members.get(pod.metadata.uid);
    if (member !== undefined) {
      member.pod = pod;
      return;
    }
    if (this.#stopped || pod.ip === undefined || !pod.isRunning) return;
    const added: Member = { pod, link: undefined, dialling: false, tries: 0, timer: undefined, isMature: false, usedSinceMs: undefined };
    this.#members.set(pod.metadata.uid, added);
    this.#dial(added);
  }

  /** The pod is gone, or belongs to a function. */
  remove(uid: string): void {
    const member = this.#members.get(uid);
    if (member === undefined) return;
    this.#members.delete(uid);
    member.timer?.cancel();
    member.link?.close();
  }

  /** hot: the best pod that waits, undefined where there is none. Whoever takes it claims it, or closes its link. */
  take(podClass: PodClass): GenericPod | undefined {
    const key = podClassKey(podClass);
    let best: Member | undefined;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const member of this.#members.values()) {
      if (!this.#isReady(member) || podClassKey(member.pod.podClass) !== key) continue;
      const score = this.#options.preference(member.pod.metadata.uid);
      if (score > bestScore) {
        best = member;
        bestScore = score;
      }
    }
    return best === undefined ? undefined : this.#takeOut(best);
  }

  /** Any pod that waits, which is not taken. */
  peek(podClass: PodClass): GenericPod | undefined {
    const key = podClassKey(podClass);
    for (const member of this.#members.values()) {
      if (this.#isReady(member) && podClassKey(member.pod.podClass) === key) return { pod: member.pod, link: member.link! };
    }
    return undefined;
  }

  /** The next that comes, in turn; undefined when the time is over. */
  wait(podClass: PodClass, timeoutMs: number): Promise<GenericPod | undefined> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(timeoutMs, () => waiter.resolve(undefined));
      const waiter: Waiter = {
        key: podClassKey(podClass),
        resolve: (found) => {
          timer.cancel();
          this.#waiters = this.#waiters.filter((each) => each !== waiter);
          resolve(found);
        },
      };
      this.#waiters.push(waiter);
    });
  }

  /** How many wait, by class. */
  counts(): Map<string, { podClass: PodClass; waiting: number; version: string }> {
    const counts = new Map<string, { podClass: PodClass; waiting: number; version: string }>();
    for (const member of this.#members.values()) {
      if (!this.#isReady(member)) continue;
      const key = podClassKey(member.pod.podClass);
      const count = counts.get(key) ?? { podClass: member.pod.podClass, waiting: 0, version: member.link!.hello.version };
      count.waiting++;
      counts.set(key, count);
    }
    return counts;
  }

  stop(): void {
    this.#stopped = true;
    this.#pings?.cancel();
    for (const uid of [...this.#members.keys()]) this.remove(uid);
    for (const waiter of [...this.#waiters]) waiter.resolve(undefined);
  }

  #isReady({ link, usedSinceMs, isMature }: Member): boolean {
    if (link === undefined || !isMature || usedSinceMs !== undefined || link.closed || link.taken) return false;
    return this.#clock.monotonicMs() - link.heardAtMs < SILENCE_MS;
  }

  /** It stays a member, without a link: the API server will tell whose it is. */
  #takeOut(member: Member): GenericPod {
    const link = member.link!;
    member.link = undefined;
    link.onClosed = () => this.#lost(member);
    return { pod: member.pod, link };
  }

  #dial(member: Member): void {
    member.dialling = true;
    member.timer = undefined;
    const { uid } = member.pod.metadata;
    this.#options.dial({ uid, ip: member.pod.ip!, port: FRAMES_PORT }).then(
      (link) => this.#dialled(member, link),
      (error: unknown) => {
        member.dialling = false;
        if (member.tries === 5) this.#options.onDialFailed(error, member.pod);
        this.#redial(member);
      },
    );
  }

  #dialled(member: Member, link: PodLink): void {
    member.dialling = false;
    if (!this.#isMember(member)) return link.close();
    member.tries = 0;
    member.link = link;
    link.onClosed = () => this.#lost(member);
    if (link.hello.state !== "generic") return link.close();
    link.leaveToken();
    if (this.#options.isOwn(member.pod.metadata.uid)) this.#ripen(member);
    else member.timer = this.#clock.setTimer(MATURE_MS, () => this.#ripen(member));
  }

  #ripen(member: Member): void {
    member.timer = undefined;
    member.isMature = true;
    if (this.#isReady(member)) this.#offer(member);
  }

  #offer(member: Member): void {
    const key = podClassKey(member.pod.podClass);
    const waiter = this.#waiters.find((each) => each.key === key);
    if (waiter !== undefined) waiter.resolve(this.#takeOut(member));
  }

  /** Taken by another gateway, or broken: the API server will tell. */
  #lost(member: Member): void {
    member.link = undefined;
    member.timer?.cancel();
    member.usedSinceMs ??= this.#clock.monotonicMs();
  }

  #redial(member: Member): void {
    if (!this.#isMember(member)) return;
    const delayMs = Math.min(MAX_REDIAL_MS, FIRST_REDIAL_MS * 2 ** member.tries);
    member.tries++;
    member.timer = this.#clock.setTimer(delayMs, () => this.#dial(member));
  }

  #isMember(member: Member): boolean {
    return !this.#stopped && this.#members.get(member.pod.metadata.uid) === member;
  }

  #lookAfter(member: Member): void {
    const { link, usedSinceMs, pod } = member;
    const nowMs = this.#clock.monotonicMs();
    if (usedSinceMs !== undefined && nowMs - usedSinceMs > ORPHAN_MS) {
      member.usedSinceMs = nowMs;
      this.#options.onOrphan(pod);
    }
    if (link === undefined) return;
    if (nowMs - link.heardAtMs > GIVE_UP_MS) link.close();
    else link.ping();
  }
}
