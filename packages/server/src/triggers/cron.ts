import { randomUUID } from "node:crypto";
import type { CronTrigger, ErrorCode, TriggerInfo } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { failpoint } from "../failpoint.ts";
import { type CronFailure, type CronOutcome, type CronRun, type CronStore, MAX_CRON_ERROR_CHARACTERS } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import { decideDue, type Due, LATEST_MS } from "./cron-due.ts";
import { type CronSchedule, findCronSchedule } from "./cron-schedule.ts";
import { DEFAULT_TIMEZONE, triggerId } from "./trigger-id.ts";

/** A planned time as the call of a function. */
export interface CronInvocation {
  requestId: string;
  path: "/cron";
  headers: Record<string, string>;
  body: Buffer;
  trigger: Extract<TriggerInfo, { type: "cron" }>;
  /** Aborts when the server stops and nobody waits for the result any more. */
  signal: AbortSignal;
}

export type CronInvocationResult = { ok: true } | { ok: false; code: ErrorCode; reason: string; reachedHandler: boolean };

/** Calls the function with that uid; any response of it is a success, whatever its status. */
export type InvokeFromCron = (uid: string, invocation: CronInvocation) => Promise<CronInvocationResult>;

export interface DesiredCronTrigger {
  uid: string;
  config: CronTrigger["config"];
  /** Since when the trigger is known to exist: what it missed after that, before its first run ever, counts at `start`. */
  sinceMs?: number;
}

/** The part of a logger that the scheduler needs. */
export interface CronLog {
  warn(fields: object, message: string): void;
}

export interface CronSchedulerOptions {
  store: CronStore;
  invoke: InvokeFromCron;
  clock: Clock;
  tasks: TaskGroup;
  log: CronLog;
}

/** A trigger, and when it runs next, in milliseconds since 1970; undefined when no time comes any more. */
export interface UpcomingCronRun {
  schedule: string;
  timezone: string;
  nextAtMs: number | undefined;
}

interface Ended {
  outcome: CronOutcome;
  failure?: CronFailure;
}

interface ActiveTrigger {
  id: string;
  uid: string;
  config: CronTrigger["config"];
  /** Undefined when no time comes any more. */
  nextAtMs: number | undefined;
  /** A planned time is being claimed: others wait, and only the newest of them counts then. */
  isClaiming: boolean;
  running: number;
}

/** The wall clock may be set at any time: it is looked at so often. Also far below the 2³¹ ms that a timer can wait. */
const MAX_SLEEP_MS = 30_000;
/** Clocks that are slewed go back by less. */
const CLOCK_BACK_MS = 1_000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 15_000;

/**
 * Runs functions at the times that their cron triggers name, each planned time once: it is claimed in the store before
 * anything else, and the hand-over is stored before the call is sent. Only one scheduler may be started on one store
 * at a time, as `start` takes over what an earlier one left; the claims hold even so.
 */
export class CronScheduler {
  readonly #options: CronSchedulerOptions;
  readonly #triggers = new Map<string, ActiveTrigger>();
  /** All that was begun: claims, calls, their ends. */
  readonly #runs = new Set<Promise<void>>();
  /** Aborted when the scheduler takes up nothing more … */
  readonly #stopping = new AbortController();
  /** … and when it waits no longer for what runs. */
  readonly #ending = new AbortController();
  /** One a call, so that what listens to it goes with the call. */
  readonly #calls = new Set<AbortController>();
  #timer: Timer | undefined;
  /** When the timer fires; none: never. */
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #lastTickMs = Number.NEGATIVE_INFINITY;
  #isStarted = false;

  constructor(options: CronSchedulerOptions) {
    this.#options = options;
  }

  /** Takes over from the process before: what it had claimed runs, what it had handed over counts as interrupted. */
  async start(desired: readonly DesiredCronTrigger[]): Promise<void> {
    const [open, latest] = await Promise.all([this.#options.store.openCronRuns(), this.#options.store.latestCronRuns()]);
    const nowMs = this.#options.clock.nowMs();
    for (const each of desired) {
      const trigger = this.#add(each);
      trigger.nextAtMs = this.#nextAfter(trigger, Math.min(latest.get(trigger.id) ?? each.sinceMs ?? nowMs, nowMs));
    }
    this.#isStarted = true;
    for (const run of open) this.#track(() => this.#resume(run));
    this.#tick();
  }

  /** All triggers there are now: new ones begin, others end, and those that are the same go on. */
  sync(desired: readonly DesiredCronTrigger[]): void {
    const nowMs = this.#options.clock.nowMs();
    const wanted = new Set<string>();
    for (const each of desired) {
      const known = this.#triggers.get(triggerId(each.uid, { type: "cron", config: each.config }));
      const trigger = known ?? this.#add(each);
      wanted.add(trigger.id);
      trigger.config = each.config;
      if (known === undefined) trigger.nextAtMs = this.#nextAfter(trigger, nowMs);
    }
    for (const id of this.#triggers.keys()) if (!wanted.has(id)) this.#triggers.delete(id);
    this.#arm();
  }

  /** When a function's triggers run next. */
  upcoming(uid: string): UpcomingCronRun[] {
    return [...this.#triggers.values()]
      .filter((trigger) => trigger.uid === uid)
      .map(({ config, nextAtMs }) => ({ schedule: config.schedule, timezone: config.timezone ?? DEFAULT_TIMEZONE, nextAtMs }));
  }

  /** Begins nothing more and waits for what runs; what is left at the deadline is interrupted. */
  async stop(options: { deadlineMs: number }): Promise<void> {
    this.#stopping.abort();
    this.#timer?.cancel();
    const deadline = this.#options.clock.setTimer(options.deadlineMs, () => this.#ending.abort());
    const ended = new Promise((resolve) => this.#ending.signal.addEventListener("abort", resolve));
    while (this.#runs.size > 0 && !this.#ending.signal.aborted) await Promise.race([Promise.all(this.#runs), ended]);
    deadline.cancel();
    this.#ending.abort();
    for (const call of this.#calls) call.abort();
  }

  #add({ uid, config }: DesiredCronTrigger): ActiveTrigger {
    const id = triggerId(uid, { type: "cron", config });
    const trigger: ActiveTrigger = { id, uid, config, nextAtMs: undefined, isClaiming: false, running: 0 };
    this.#triggers.set(id, trigger);
    return trigger;
  }

  /** A schedule that can't be read, as one of a later version, must not keep the others from running. */
  #nextAfter(trigger: ActiveTrigger, atMs: number): number | undefined {
    try {
      return scheduleOf(trigger).nextAfter(atMs);
    } catch (error) {
      this.#options.log.warn({ uid: trigger.uid, schedule: trigger.config.schedule, err: error }, "cron schedule cannot be read");
      return undefined;
    }
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    if (!this.#isStarted || this.#stopping.signal.aborted || this.#triggers.size === 0) return;
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const { nextAtMs, isClaiming } of this.#triggers.values()) {
      if (nextAtMs !== undefined && !isClaiming && nextAtMs < soonestMs) soonestMs = nextAtMs;
    }
    const nowMs = this.#options.clock.nowMs();
    const sleepMs = Math.min(Math.max(0, soonestMs - nowMs), MAX_SLEEP_MS);
    this.#wakeAtMs = nowMs + sleepMs;
    this.#timer = this.#options.clock.setTimer(sleepMs, () => this.#tick());
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs();
    const hasGoneBack = nowMs < this.#lastTickMs - CLOCK_BACK_MS;
    this.#lastTickMs = nowMs;
    for (const trigger of this.#triggers.values()) {
      // The times to come are computed anew; those that ran before are claimed already, and so are not repeated.
      if (hasGoneBack) trigger.nextAtMs = this.#nextAfter(trigger, nowMs);
      if (trigger.nextAtMs === undefined || trigger.nextAtMs > nowMs || trigger.isClaiming) continue;
      const due = decideDue(scheduleOf(trigger), trigger.nextAtMs, nowMs, trigger.config.missed ?? "skip");
      trigger.nextAtMs = due.nextAtMs;
      if (due.kind !== "wait") this.#track(() => this.#take(trigger, due));
    }
    this.#arm();
  }

  #track(work: () => Promise<void>): void {
    const run = new Promise<void>((resolve) => {
      this.#options.tasks.run("cron", () => work().finally(resolve));
    });
    this.#runs.add(run);
    void run.then(() => this.#runs.delete(run));
  }

  async #take(trigger: ActiveTrigger, due: Exclude<Due, { kind: "wait" }>): Promise<void> {
    const { clock, log } = this.#options;
    const { id, uid } = trigger;
    const { plannedAtMs } = due;
    trigger.isClaiming = true;
    const isOurs = await this.#claim({ triggerId: id, uid, plannedAtMs });
    trigger.isClaiming = false;
    // Looking through all triggers after each of them would take n² steps at full hours.
    if (trigger.nextAtMs !== undefined && trigger.nextAtMs < this.#wakeAtMs) this.#arm();
    if (isOurs !== true) return;
    failpoint("cron.after-claim");
    // The store may have been away for long.
    const isTooLate = due.kind === "run" && !due.catchUp && clock.nowMs() - plannedAtMs > LATEST_MS && trigger.config.missed !== "once";
    if (due.kind === "run" && !isTooLate) return this.#run(trigger, plannedAtMs);
    log.warn({ uid, schedule: trigger.config.schedule, plannedAt: formatTime(plannedAtMs) }, "cron run missed");
    await this.#finish(id, plannedAtMs, "missed");
  }

  /** A claim may be kept though it was reported as failed: what is still claimed at the next try, and nobody has handed over, is that. */
  #claim(run: Pick<CronRun, "triggerId" | "uid" | "plannedAtMs">): Promise<boolean | undefined> {
    const { store } = this.#options;
    let hasFailed = false;
    return this.#persist(async () => {
      try {
        if (await store.claimCronRun(run)) return true;
        if (!hasFailed) return false;
        const open = await store.openCronRuns();
        return open.some((each) => each.state === "claimed" && each.triggerId === run.triggerId && each.plannedAtMs === run.plannedAtMs);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    });
  }

  async #resume({ triggerId: id, uid, plannedAtMs, state }: CronRun): Promise<void> {
    const trigger = this.#triggers.get(id);
    if (state === "claimed") {
      if (trigger === undefined) return this.#finish(id, plannedAtMs, "missed");
      return this.#run(trigger, plannedAtMs);
    }
    this.#options.log.warn({ uid, triggerId: id, plannedAt: formatTime(plannedAtMs) }, "cron run interrupted by the end of the server");
    await this.#finish(id, plannedAtMs, "interrupted");
    if (trigger?.config.missed === "once") await this.#run(trigger, plannedAtMs);
  }

  /** A planned time that is claimed. */
  async #run(trigger: ActiveTrigger, plannedAtMs: number): Promise<void> {
    if (trigger.config.overlap === "skip" && trigger.running > 0) return this.#finish(trigger.id, plannedAtMs, "skipped");
    trigger.running++;
    try {
      const requestId = randomUUID();
      const handedOver = await this.#persist(async () => {
        await this.#options.store.handOverCronRun(trigger.id, plannedAtMs, requestId);
        return true;
      });
      if (handedOver !== true) return;
      failpoint("cron.after-hand-over");
      const ended = await this.#call(trigger, plannedAtMs, requestId);
      failpoint("cron.before-finish");
      if (ended !== undefined) await this.#finish(trigger.id, plannedAtMs, ended.outcome, ended.failure);
    } finally {
      trigger.running--;
    }
  }

  /** Undefined when the server's own end cut it off: it stays handed over, and the next start says so. */
  async #call({ uid, config }: ActiveTrigger, plannedAtMs: number, requestId: string): Promise<Ended | undefined> {
    const call = new AbortController();
    this.#calls.add(call);
    const invocation = { requestId, ...buildInvocation(config, plannedAtMs, call.signal) };
    const result = await this.#options.invoke(uid, invocation).finally(() => this.#calls.delete(call));
    if (result.ok) return { outcome: "succeeded" };
    if (result.code === "DRAINING" || (result.code === "CLIENT_CLOSED" && call.signal.aborted)) return undefined;
    const { code, reason } = result;
    const plannedAt = formatTime(plannedAtMs);
    this.#options.log.warn({ uid, schedule: config.schedule, plannedAt, requestId, code, reason }, "cron run failed");
    return { outcome: "failed", failure: { code, error: cut(reason) } };
  }

  async #finish(id: string, plannedAtMs: number, outcome: CronOutcome, failure?: CronFailure): Promise<void> {
    await this.#persist(() => this.#options.store.finishCronRun(id, plannedAtMs, outcome, failure), this.#ending.signal);
  }

  /** A write that is tried until the store takes it; undefined when the scheduler ended first. */
  async #persist<T>(write: () => Promise<T>, givesUp: AbortSignal = this.#stopping.signal): Promise<T | undefined> {
    for (let waitMs = RETRY_FIRST_MS; !givesUp.aborted; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
      try {
        return await write();
      } catch (error) {
        this.#options.log.warn({ err: error }, "cron state could not be stored; it is tried again");
      }
      await pause(this.#options.clock, waitMs, givesUp);
    }
    return undefined;
  }
}

function scheduleOf({ config }: ActiveTrigger): CronSchedule {
  return findCronSchedule(config.schedule, config.timezone ?? DEFAULT_TIMEZONE);
}

function buildInvocation(config: CronTrigger["config"], plannedAtMs: number, signal: AbortSignal): Omit<CronInvocation, "requestId"> {
  const hasBody = config.body !== undefined;
  return {
    path: "/cron",
    headers: hasBody ? { "content-type": "application/json" } : {},
    body: hasBody ? Buffer.from(JSON.stringify(config.body)) : Buffer.alloc(0),
    trigger: { type: "cron", schedule: config.schedule, plannedAt: formatTime(plannedAtMs) },
    signal,
  };
}

function cut(text: string): string {
  if (text.length <= MAX_CRON_ERROR_CHARACTERS) return text;
  return `${text.slice(0, MAX_CRON_ERROR_CHARACTERS - 1).toWellFormed()}…`;
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}

function pause(clock: Clock, delayMs: number, wakeUp: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      wakeUp.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimer(delayMs, end);
    wakeUp.addEventListener("abort", end);
  });
}
