import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CompiledPython } from "./compiled-python.ts";
import type { InstalledVersion } from "./installed.ts";

const PYTHON = "/usr/bin/python3";
const skip = existsSync(PYTHON) ? false : "python3 is missing: apt-get install python3";

function setUp(t: { after(fn: () => void): void }) {
  const root = mkdtempSync(join(tmpdir(), "compiled-python-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const source = join(root, "source");
  mkdirSync(join(source, "package"), { recursive: true });
  writeFileSync(join(source, "main.py"), "import package.part\n");
  writeFileSync(join(source, "package", "part.py"), "x = 1\n");
  const errors: unknown[] = [];
  const create = (): CompiledPython => new CompiledPython(source, join(root, "compiled"), (error) => errors.push(error));
  return { root, source, errors, create };
}

const installed = (program: string): InstalledVersion => ({
  language: "python",
  version: "3.11.2",
  line: "3.11",
  program,
  prefix: undefined,
});

test("byte code is made once and found again by the next start", { skip }, async (t) => {
  const { root, create, errors } = setUp(t);
  const folder = await create().get(installed(PYTHON));
  assert.equal(readdirSync(join(folder, "package", "__pycache__")).length, 1);
  assert.equal(await create().get(installed(PYTHON)), folder);
  assert.equal(readdirSync(join(root, "compiled")).length, 1);
  assert.deepEqual(errors, []);
});

test("changed source is compiled anew", { skip }, async (t) => {
  const { source, create } = setUp(t);
  const before = await create().get(installed(PYTHON));
  writeFileSync(join(source, "package", "part.py"), "x = 2\n");
  assert.notEqual(await create().get(installed(PYTHON)), before);
});

test("what cannot be compiled starts from its source, and says so", async (t) => {
  const { source, create, errors } = setUp(t);
  assert.equal(await create().get(installed("/nowhere/python3")), source);
  assert.equal(errors.length, 1);
});

test("a stop in the middle ends the compiler and leaves nothing behind", { skip }, async (t) => {
  const { root, source, create, errors } = setUp(t);
  const program = join(root, "slow-python");
  const [begun, release] = [join(root, "begun"), join(root, "release")];
  execFileSync("mkfifo", [begun, release]);
  writeFileSync(program, `#!/bin/sh\n: >${begun}\nread -r _ <${release}\nexec ${PYTHON} "$@"\n`, { mode: 0o755 });
  const python = create();
  const folder = python.get(installed(program));
  await readFile(begun);
  await python.stop();
  assert.equal(await folder, source);
  assert.deepEqual(readdirSync(join(root, "compiled")), []);
  assert.deepEqual(errors, []);
});
