import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";

/** One SQLite file with its prepared statements kept by their text: write constant SQL and bind the rest. */
export class StoreDatabase {
  readonly path: string;
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string) {
    this.path = path;
    this.#connection = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: true });
  }

  /** Runs one statement and tells how many rows it changed. */
  run(sql: string, ...parameters: SQLInputValue[]): { changes: number; lastInsertRowid: number } {
    const { changes, lastInsertRowid } = this.#statement(sql).run(...parameters);
    return { changes: Number(changes), lastInsertRowid: Number(lastInsertRowid) };
  }

  /** The first row, also of a statement with RETURNING. */
  get<Row>(sql: string, ...parameters: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...parameters) as Row | undefined;
  }

  all<Row>(sql: string, ...parameters: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...parameters) as Row[];
  }

  /** Runs several statements, uncached: for schemas and pragmas. */
  exec(sql: string): void {
    this.#connection.exec(sql);
  }

  get isTransaction(): boolean {
    return this.#connection.isTransaction;
  }

  close(): void {
    this.#statements.clear();
    this.#connection.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
