import type { SqliteClient } from "../../store/sqlite/client.ts";
import type { ApiKeyStore, StoredApiKey, StoredSecret } from "../keys/port.ts";
import type { KeyRow, LastUse } from "./keys-module.ts";

/** What the store's worker thread has to load: see `createSqliteStore`. */
export const KEYS_MODULE = new URL("./keys-module.ts", import.meta.url);

type RowData = Omit<StoredApiKey, "id" | "createdAtMs" | "lastUsedAtMs" | "secrets"> & { secrets: StoredSecretRow[] };

interface StoredSecretRow {
  /** SHA-256 in hex. */
  hash: string;
  validUntilMs?: number;
}

/** Keys in the data folder's SQLite file, by a client whose worker has loaded `KEYS_MODULE`. */
export class SqliteKeyStore implements ApiKeyStore {
  readonly #client: SqliteClient;

  constructor(client: SqliteClient) {
    this.#client = client;
  }

  async load(): Promise<StoredApiKey[]> {
    return (await this.#client.run<KeyRow[]>("keys.load")).map(parseRow);
  }

  put(key: StoredApiKey): Promise<void> {
    return this.#client.run("keys.put", buildRow(key));
  }

  remove(id: string): Promise<void> {
    return this.#client.run("keys.remove", id);
  }

  saveLastUse(uses: ReadonlyMap<string, number>): Promise<void> {
    const rows: LastUse[] = [...uses];
    return this.#client.run("keys.saveLastUse", rows);
  }
}

function buildRow({ id, createdAtMs, lastUsedAtMs, secrets, ...rest }: StoredApiKey): KeyRow {
  const data: RowData = { ...rest, secrets: secrets.map(({ hash, ...end }) => ({ hash: Buffer.from(hash).toString("hex"), ...end })) };
  return { id, createdAtMs, lastUsedAtMs: lastUsedAtMs ?? null, data: JSON.stringify(data) };
}

function parseRow({ id, createdAtMs, lastUsedAtMs, data }: KeyRow): StoredApiKey {
  const { secrets, ...rest } = JSON.parse(data) as RowData;
  const parsed: StoredSecret[] = secrets.map(({ hash, ...end }) => ({ hash: Buffer.from(hash, "hex"), ...end }));
  return { id, createdAtMs, ...(lastUsedAtMs === null ? {} : { lastUsedAtMs }), ...rest, secrets: parsed };
}
