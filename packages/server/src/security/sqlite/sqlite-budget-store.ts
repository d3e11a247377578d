import type { SqliteClient } from "../../store/sqlite/client.ts";
import type { BudgetDay } from "../budget/daily-budget.ts";
import type { BudgetStore } from "../budget/port.ts";
import type { BudgetRow } from "./budgets-module.ts";

/** What the store's worker thread has to load: see `createSqliteStore`. */
export const BUDGETS_MODULE = new URL("./budgets-module.ts", import.meta.url);

/** Days of budgets in the data folder's file of metrics, by a client whose worker has loaded `BUDGETS_MODULE`. */
export class SqliteBudgetStore implements BudgetStore {
  readonly #client: SqliteClient;

  constructor(client: SqliteClient) {
    this.#client = client;
  }

  async load(): Promise<Map<string, BudgetDay>> {
    const rows = await this.#client.run<BudgetRow[]>("budgets.load");
    return new Map(rows.map(({ uid, data }) => [uid, JSON.parse(data) as BudgetDay]));
  }

  save(days: ReadonlyMap<string, BudgetDay>): Promise<void> {
    const rows: BudgetRow[] = [...days].map(([uid, day]) => ({ uid, data: JSON.stringify(day) }));
    return this.#client.run("budgets.save", rows);
  }

  remove(uid: string): Promise<void> {
    return this.#client.run("budgets.remove", uid);
  }
}
