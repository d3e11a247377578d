import { type Budget, KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../../clock.ts";
import type { TaskGroup } from "../../task-group.ts";
import { type BudgetDay, decideTold, rollOver, spentUsd, untilNextDayMs, type Usage, type UsagePrices } from "./daily-budget.ts";
import type { BudgetStore } from "./port.ts";

/** Something that who pays should see. */
export interface BudgetEvent {
  uid: string;
  kind: "nearly-spent" | "spent";
  spentUsd: number;
  perDayUsd: number;
}

export interface BudgetsOptions {
  store: BudgetStore;
  clock: Clock;
  tasks: TaskGroup;
  prices: UsagePrices;
  onEvent: (event: BudgetEvent) => void;
}

const FLUSH_MS = 1000;

/** The spending caps of all functions. What runs when the cap is reached is let finish, so a day may cost that much more. */
export class Budgets {
  readonly #options: BudgetsOptions;
  readonly #days = new Map<string, BudgetDay>();
  readonly #dirty = new Set<string>();
  #timer: Timer | undefined;

  constructor(options: BudgetsOptions) {
    this.#options = options;
  }

  /** Before the first call. */
  async load(): Promise<void> {
    for (const [uid, day] of await this.#options.store.load()) this.#days.set(uid, day);
  }

  /** hot: before a call, which is refused once the day's budget is spent. @throws KsError `BUDGET_EXCEEDED` */
  check(uid: string, budget: Budget, usage: Usage): void {
    const { clock, prices } = this.#options;
    const nowMs = clock.nowMs();
    const day = this.#today(uid, usage, nowMs);
    if (spentUsd(day, usage, prices) < budget.perDay) return;
    const retryAfterMs = untilNextDayMs(day, nowMs);
    const until = new Date(nowMs + retryAfterMs).toISOString();
    throw new KsError("BUDGET_EXCEEDED", {
      message: `Budget exceeded: ${budget.perDay} US dollars a day are spent, calls go on at ${until}`,
      details: { perDay: budget.perDay, until },
      retryAfterMs,
    });
  }

  /** hot: after a call was counted; tells once when 80 % and when all of the budget is spent. */
  settle(uid: string, budget: Budget, usage: Usage): void {
    const { clock, prices, onEvent } = this.#options;
    const day = this.#today(uid, usage, clock.nowMs());
    const spent = spentUsd(day, usage, prices);
    const { day: after, news } = decideTold(day, spent, budget.perDay);
    if (after === day) return;
    this.#keep(uid, after);
    if (news === undefined || news === "nothing") return;
    onEvent({ uid, kind: news, spentUsd: spent, perDayUsd: budget.perDay });
    // At once, so that hardly a crash makes it told again.
    this.#arm(0);
  }

  /** US dollars spent today. */
  spentToday(uid: string, usage: Usage): number {
    return spentUsd(this.#today(uid, usage, this.#options.clock.nowMs()), usage, this.#options.prices);
  }

  /** The function is gone. */
  async remove(uid: string): Promise<void> {
    this.#dirty.delete(uid);
    if (this.#days.delete(uid)) await this.#options.store.remove(uid);
  }

  /** Writes the rest. */
  async stop(): Promise<void> {
    this.#stopTimer();
    await this.#flush();
  }

  #today(uid: string, usage: Usage, nowMs: number): BudgetDay {
    const before = this.#days.get(uid);
    const day = rollOver(before, usage, nowMs);
    if (day !== before) this.#keep(uid, day);
    return day;
  }

  #keep(uid: string, day: BudgetDay): void {
    this.#days.set(uid, day);
    this.#dirty.add(uid);
    this.#arm();
  }

  #arm(delayMs = FLUSH_MS): void {
    if (delayMs === 0) this.#stopTimer();
    this.#timer ??= this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#options.tasks.run("save budgets", () => this.#flush());
    });
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #flush(): Promise<void> {
    const days = new Map<string, BudgetDay>();
    for (const uid of this.#dirty) days.set(uid, this.#days.get(uid)!);
    this.#dirty.clear();
    if (days.size === 0) return;
    try {
      await this.#options.store.save(days);
    } catch (error) {
      for (const uid of days.keys()) if (this.#days.has(uid)) this.#dirty.add(uid);
      // The next change, or the end, tries again.
      throw error;
    }
  }
}
