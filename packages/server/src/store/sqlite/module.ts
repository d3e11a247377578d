/*
 * How a part of the server keeps rows in the data folder's SQLite files.
 *
 * 1. A part exports `storeModule: StoreModule` from a file of its own, such as `queue/sqlite/operations.ts`. The file is imported by the
 *    store's worker thread, so it has no state and imports nothing that belongs to the main thread.
 * 2. The file's URL is given to `createSqliteStore({ folder, modules: [new URL("../queue/sqlite/operations.ts", import.meta.url)], ... })`
 *    of sqlite-store.ts, or, without the store's own tables, to `createSqliteClient({ folder, modules, onFatal })` of client.ts.
 * 3. The main thread calls `await store.client.run<Result>("queue.publish", args)`: module, dot, operation. The promise resolves after the
 *    COMMIT that holds the write. All that has arrived meanwhile shares one COMMIT; one operation that throws is undone alone.
 *
 * Arguments and results cross threads as structured clones: a Buffer arrives as a Uint8Array, and a view of a larger buffer takes all of
 * that buffer along, so pass it through `exactBytes` first. A KsError that is thrown arrives as the same KsError.
 */
import type { StoreDatabase } from "./database.ts";

/** SQL text, or a function for what SQL cannot say. */
export type Migration = string | ((db: StoreDatabase) => void);

/** Runs in the worker thread, synchronously; throwing undoes what it wrote and rejects the caller's promise alone. */
export type Operation = (db: StoreDatabase, args: never) => unknown;

/** Tables and what is done with them; kept in one of the two files, together with the other modules there. */
export interface StoreModule {
  /** Begins the names of its operations, and names its schema in the file for ever. */
  name: string;
  /** `state` (the default) survives a power loss; `metrics` may lose its last second, and costs no fsync. */
  database?: "state" | "metrics";
  /** The n-th takes the schema from version n-1 to n. Never change one that was released: add another. */
  migrations: readonly Migration[];
  /** What writes: runs in a transaction, acknowledged after its COMMIT. */
  operations: Readonly<Record<string, Operation>>;
  /** What only reads; it sees every write that was asked for before it, and works on a full disk. */
  queries?: Readonly<Record<string, Operation>>;
  /** Those `operations` that free space or finish work, so that a full disk must not stop them: they use the ballast's space. */
  freeing?: readonly string[];
}

/** The same bytes in a buffer of their own, when they are a view of a larger one. */
export function exactBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}
