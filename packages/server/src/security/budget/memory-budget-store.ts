import type { BudgetDay } from "./daily-budget.ts";
import type { BudgetStore } from "./port.ts";

/** Budgets for as long as the object lives: for tests and simulations. */
export class MemoryBudgetStore implements BudgetStore {
  readonly #days = new Map<string, BudgetDay>();

  async load(): Promise<Map<string, BudgetDay>> {
    return structuredClone(this.#days);
  }

  async save(days: ReadonlyMap<string, BudgetDay>): Promise<void> {
    for (const [uid, day] of days) this.#days.set(uid, structuredClone(day));
  }

  async remove(uid: string): Promise<void> {
    this.#days.delete(uid);
  }
}
