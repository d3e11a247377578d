import type { BudgetDay } from "./daily-budget.ts";

/** Where the days of budgets are kept, by the function's uid; may lose the last second in a crash, as the counters may. */
export interface BudgetStore {
  load(): Promise<Map<string, BudgetDay>>;
  save(days: ReadonlyMap<string, BudgetDay>): Promise<void>;
  remove(uid: string): Promise<void>;
}
