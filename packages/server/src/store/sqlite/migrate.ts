import { closeSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { KsError } from "@kube-serverless/contracts/error";
import { failpoint } from "../../failpoint.ts";
import type { StoreDatabase } from "./database.ts";
import type { StoreModule } from "./module.ts";

interface Step {
  module: StoreModule;
  from: number;
}

/**
 * Brings every module's schema to its newest version, in one transaction; keeps a copy of the file first when it holds older ones.
 * `configure` runs before the first write, once it is sure that the file is not of a newer program.
 */
export function migrate(db: StoreDatabase, modules: readonly StoreModule[], configure: () => void): void {
  const versions = readVersions(db);
  for (const module of modules) assertKnown(db, module, versions.get(module.name) ?? 0);
  configure();
  const steps = modules
    .map((module) => ({ module, from: versions.get(module.name) ?? 0 }))
    .filter(({ module, from }) => from < module.migrations.length);
  if (steps.length === 0) return;
  if (steps.some((step) => step.from > 0)) keepCopy(db, steps);
  apply(db, steps);
}

function readVersions(db: StoreDatabase): Map<string, number> {
  const exists = db.get("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_versions'") !== undefined;
  if (!exists) return new Map();
  const rows = db.all<{ module: string; version: number }>("SELECT module, version FROM schema_versions");
  return new Map(rows.map((row) => [row.module, row.version]));
}

function assertKnown(db: StoreDatabase, module: StoreModule, version: number): void {
  const newest = module.migrations.length;
  if (version <= newest) return;
  throw new KsError("STORE_UNAVAILABLE", {
    message:
      `${db.path} was written by a newer Kube-Serverless (schema ${version} of ${module.name}, this one knows ${newest}): ` +
      "start the newer version, or choose another data folder; nothing was changed",
  });
}

/** The way back, if the new version disappoints: `<file>.before-<module>-<new version>`. */
function keepCopy(db: StoreDatabase, steps: readonly Step[]): void {
  const suffix = steps.map(({ module }) => `${module.name}-${module.migrations.length}`).join("-");
  const copy = `${db.path}.before-${suffix}`;
  const unfinished = `${copy}.new`;
  rmSync(unfinished, { force: true });
  const descriptor = openSync(unfinished, "w", 0o600);
  try {
    db.run("VACUUM INTO ?", unfinished);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(unfinished, copy);
}

function apply(db: StoreDatabase, steps: readonly Step[]): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    db.exec("CREATE TABLE IF NOT EXISTS schema_versions (module TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT");
    for (const { module, from } of steps) {
      for (const migration of module.migrations.slice(from)) {
        if (typeof migration === "string") db.exec(migration);
        else migration(db);
      }
      db.run("INSERT OR REPLACE INTO schema_versions (module, version) VALUES (?, ?)", module.name, module.migrations.length);
      failpoint("store.in-migration");
    }
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}
