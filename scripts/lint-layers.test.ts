import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "..");
const oxlint = join(root, "node_modules/oxlint/bin/oxlint");

/** A file of one line, and what lint must say of it; nothing where the line is allowed. */
const probes: [path: string, line: string, message: string | undefined][] = [
  ["packages/contracts/src/a.ts", 'import "node:fs";', "Contracts depend on zod"],
  ["packages/contracts/src/b.ts", 'import "fastify";', "Contracts depend on zod"],
  ["packages/contracts/src/c.ts", 'import "../../server/src/clock.ts";', "Contracts depend on zod"],
  ["packages/contracts/src/d.ts", 'import "@kube-serverless/server";', "Contracts depend on zod"],
  ["packages/contracts/src/e.ts", 'import "zod";', undefined],
  ["packages/contracts/src/openapi/f.ts", 'import "../name.ts";', undefined],
  ["packages/contracts/src/g.test.ts", 'import "fast-check";', undefined],
  ["packages/server/src/api/a.ts", 'import "../store/sqlite/client.ts";', "Drivers are named in main.ts"],
  ["packages/server/src/api/b.ts", 'import "../store/port.ts";', undefined],
  ["packages/server/src/api/c.ts", 'import "../platform/standalone.ts";', "Nothing imports what reads the configuration"],
  ["packages/server/src/api/d.ts", 'import "../gateway/gateway.ts";', "Doors import the house"],
  ["packages/server/src/api/e.ts", "console.log(process.env);", "The environment is read in main.ts"],
  ["packages/server/src/api/f.ts", 'import { env } from "node:process"; console.log(env);', "The environment and the command line"],
  [
    "packages/server/src/gateway/a.ts",
    'const driver = await import("../queue/amqp/driver.ts"); console.log(driver);',
    "Drivers are named in main.ts",
  ],
  ["packages/server/src/triggers/a.ts", 'import "../instances/local/provider.ts";', "Drivers are named in main.ts"],
  ["packages/server/src/functions/a.ts", 'import "../api/control-api.ts";', "Doors import the house"],
  ["packages/server/src/functions/b.ts", 'import "../config/options.ts";', "Nothing imports what reads the configuration"],
  ["packages/server/src/functions/c.ts", "console.log(process.argv);", "The command line is read in main.ts"],
  ["packages/server/src/queue/a.ts", 'import "./sqlite/driver.ts";', "Drivers are named in main.ts"],
  ["packages/server/src/metrics/a.ts", 'import "../functions/port.ts";', "Ports and what serves them"],
  ["packages/server/src/store/sqlite/a.ts", 'import "../../functions/port.ts";', "Ports and what serves them"],
  ["packages/server/src/queue/sqlite/a.ts", 'import "../../store/sqlite/client.ts";', undefined],
  ["packages/server/src/functions/d.ts", 'import "../kubernetes/api-client.ts";', "Drivers are named in main.ts"],
  ["packages/server/src/kubernetes/a.ts", 'import "../functions/port.ts";', "Ports and what serves them"],
  ["packages/server/src/store/kubernetes/a.ts", 'import "../../kubernetes/api-client.ts";', undefined],
  ["packages/server/src/peers/a.ts", 'import "../dispatch/call.ts";', undefined],
  ["packages/server/src/peers/b.ts", 'import "../kubernetes/reflector.ts";', "Drivers are named in main.ts"],
  ["packages/server/src/platform/a.ts", 'import "../store/sqlite/client.ts";', undefined],
  ["packages/server/src/platform/b.ts", "console.log(process.env);", "The environment is read in main.ts"],
  ["packages/server/src/main.ts", 'import "./platform/standalone.ts"; console.log(process.env, process.argv);', undefined],
];

test("the layer rule of lint fires where it should, and nowhere else", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ks-layers-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await copyFile(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  for (const [path, line] of probes) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), `${line}\n`);
  }
  const said = await lint(folder);
  for (const [path, line, message] of probes) {
    const found = said.filter((entry) => entry.path === path).map((entry) => entry.text);
    if (message === undefined) assert.deepEqual(found, [], `${path}: ${line}`);
    else assert.ok(found.length === 1 && found[0]?.includes(message), `${path}: ${line}\nsaid ${JSON.stringify(found)}`);
  }
});

/** What the restricting rules say of the files below a folder. */
async function lint(folder: string): Promise<{ path: string; text: string }[]> {
  const output = await promisify(execFile)(process.execPath, [oxlint, "-f", "json"], { cwd: folder }).catch(
    (error: { stdout: string }) => error,
  );
  const { diagnostics } = JSON.parse(output.stdout) as {
    diagnostics: { code: string; filename: string; message: string; help?: string }[];
  };
  return diagnostics
    .filter(({ code }) => code.includes("no-restricted-"))
    .map(({ filename, message, help = "" }) => ({ path: filename, text: `${message} ${help}` }));
}
