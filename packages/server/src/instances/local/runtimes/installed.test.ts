import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Detected, detectInterpreters, type InstalledVersion } from "./installed.ts";
import { ProgramProbes } from "./program-probes.ts";

/** A machine of scripts that answer as interpreters do, below one folder. */
function makeMachine(t: TestContext) {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "ks-installed-")));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (path: string, script: string): string => {
    const program = join(root, path);
    mkdirSync(dirname(program), { recursive: true });
    writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return program;
  };
  const detectAll = async (named: Record<string, string> = {}): Promise<Detected> => {
    const { installed, rejected } = await detectInterpreters({
      projectFolder: join(root, "project"),
      searchPath: [join(root, "bin"), join(root, "more")],
      named: new Map(Object.entries(named)),
      os: "linux",
      arch: "x64",
      probes: await ProgramProbes.open(undefined),
    });
    // What the real machine has below /usr is found, too, and so is what runs this test.
    return {
      installed: installed.filter(({ program }) => program.startsWith(root)),
      rejected: rejected.filter(({ path }) => path.startsWith(root)),
    };
  };
  const detect = async (named: Record<string, string> = {}): Promise<InstalledVersion[]> => (await detectAll(named)).installed;
  return {
    root,
    detect,
    detectAll,
    node: (path: string, version: string) => write(path, `echo v${version}`),
    python: (path: string, version: string, implementation = "cpython") => {
      const prefix = dirname(dirname(join(root, path)));
      return write(path, `printf '%s\\n' ${implementation} ${version} ${prefix} "$0"`);
    },
    write,
    packaged: (name: string, version: string) => {
      const program = write(`project/node_modules/${name}/bin/node`, "echo asked; exit 1");
      writeFileSync(join(root, "project/node_modules", name, "package.json"), JSON.stringify({ version }));
      return program;
    },
  };
}

const lines = (found: readonly InstalledVersion[]) => found.map(({ language, version }) => `${language} ${version}`);

test("everything on PATH is found by its real version, and once", async (t) => {
  const machine = makeMachine(t);
  machine.node("bin/node", "22.3.0");
  machine.python("more/python3.12", "3.12.1");
  symlinkSync("python3.12", join(machine.root, "more/python3"));
  assert.deepEqual(lines(await machine.detect()), ["nodejs 22.3.0", "python 3.12.1"]);
});

test("the packaged Node.js is known without being started", async (t) => {
  const machine = makeMachine(t);
  const program = machine.packaged("nodejs18-linux-x64", "v18.20.8");
  const [found] = await machine.detect();
  assert.deepEqual(found, { language: "nodejs", version: "18.20.8", line: "18", program, prefix: program });
});

test("what the user names comes before the packaged one and PATH", async (t) => {
  const machine = makeMachine(t);
  machine.packaged("nodejs18-linux-x64", "18.20.8");
  machine.python("bin/python3.9", "3.9.2");
  const [node, python] = [machine.node("opt/node18/bin/node", "18.1.0"), machine.python("opt/python/bin/python3.9", "3.9.9")];
  const found = await machine.detect({ nodejs18: node, python39: python });
  assert.deepEqual(lines(found), ["nodejs 18.1.0", "nodejs 18.20.8", "python 3.9.9", "python 3.9.2"]);
});

test("what is broken, another implementation or too strange is not taken, and why", async (t) => {
  const machine = makeMachine(t);
  machine.write("bin/node", "echo v22; echo more");
  machine.write("bin/python3", "echo Python 3.12; exit 1");
  machine.python("bin/python3.11", "3.11.0", "pypy");
  machine.write("bin/python3.12", "printf '%s\\n' cpython 3.12.0 /gone /gone/bin/python3.12");
  mkdirSync(join(machine.root, "bin/python3.13"));
  const { installed, rejected } = await machine.detectAll();
  assert.deepEqual(lines(installed), []);
  assert.deepEqual(
    rejected.map(({ path, why }) => `${path.slice(machine.root.length)}: ${why}`),
    [
      "/bin/node: it does not tell its version as Node.js does",
      "/bin/python3: it ended with code 1",
      "/bin/python3.11: it is pypy, and functions need CPython",
      "/bin/python3.12: it runs /gone/bin/python3.12, which is not there",
    ],
  );
});

test("a program brings the folder it is installed in, a lone one itself alone", async (t) => {
  const machine = makeMachine(t);
  machine.node("bin/node", "22.3.0");
  machine.python("opt/py/bin/python3.12", "3.12.1");
  symlinkSync(join(machine.root, "opt/py/bin/python3.12"), join(machine.root, "bin/python3.12"));
  const found = await machine.detect();
  assert.deepEqual(
    found.map(({ prefix }) => prefix),
    [join(machine.root, "bin/node"), join(machine.root, "opt/py")],
  );
});
