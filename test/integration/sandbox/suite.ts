import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { SandboxOptions } from "../../../packages/server/src/instances/local/sandbox/options.ts";
import type { Sandbox, SandboxStrength } from "../../../packages/server/src/instances/local/sandbox/port.ts";
import { runInSandbox } from "../../../packages/server/src/instances/local/sandbox/run-in-sandbox.ts";
import {
  end,
  findProcesses,
  isRoot,
  type OpenedSandbox,
  openSandbox,
  PYTHON,
  python,
  readLine,
  run,
  SHELL,
  sleepMark,
  spec,
  waitUntil,
} from "./support.ts";

export interface SandboxSuite {
  name: string;
  options: Partial<SandboxOptions>;
  skip: string | false;
  strength: Partial<SandboxStrength>;
}

/** What every driver promises; where the plain one promises less, both sides are written down here. */
export function testSandbox({ name, options, skip, strength }: SandboxSuite): void {
  const isIsolated = strength.driver === "bubblewrap";
  // Plain processes share files, /tmp, user id and process count with the server, so these promises are not theirs.
  const whereIsolated = isIsolated ? test : () => undefined;
  const whereRoot = isIsolated && isRoot ? test : () => undefined;

  describe(`sandbox: ${name}`, { skip }, () => {
    let opened: OpenedSandbox;
    let sandbox: Sandbox;
    before(async () => {
      opened = await openSandbox(options);
      sandbox = opened.sandbox;
    });
    after(() => opened.close());

    test("it is what it says it is", () => {
      for (const [key, value] of Object.entries(strength)) assert.deepEqual(sandbox.strength[key as keyof SandboxStrength], value, key);
    });

    test("frames go both ways over descriptor 3", async () => {
      const process = await sandbox.spawn(spec([SHELL, "-c", "head -c 5 <&3 >&3"]));
      const answer = new Promise<string>((resolve) => process.frames.once("data", (chunk: Buffer) => resolve(chunk.toString())));
      process.frames.write("hello");
      assert.equal(await answer, "hello");
      assert.equal((await end(process)).code, 0);
    });

    test("the environment is the given one and nothing else", async () => {
      const environment = { HOME: "/tmp", PATH: "/usr/bin", SECRET: "a b'\"\n=ü" };
      const { stdout } = await run(sandbox, ["/usr/bin/env", "-0"], { environment });
      const seen = stdout.split("\0").filter(Boolean).sort();
      assert.deepEqual(seen, ["HOME=/tmp", "PATH=/usr/bin", "SECRET=a b'\"\n=ü"]);
    });

    test("descriptors 0 to 3 are open and no others", async () => {
      const { stdout } = await python(sandbox, "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1], os.read(0, 1))");
      assert.equal(stdout.trim(), "[0, 1, 2, 3] b''");
    });

    test("input goes to descriptor 0", async () => {
      const input = Buffer.alloc(300_000, "x");
      assert.equal((await run(sandbox, ["/usr/bin/wc", "-c"], { input })).stdout.trim(), "300000");
    });

    test("the exit code and the signal are told", async () => {
      const { code, signal, stdout, stderr, peakMiB } = await run(sandbox, [SHELL, "-c", "echo out; echo err >&2; exit 7"]);
      assert.deepEqual([code, signal, stdout, stderr], [7, null, "out\n", "err\n"]);
      assert.ok(peakMiB !== undefined && peakMiB < 64, `a peak of ${String(peakMiB)} MiB`);
      assert.equal((await run(sandbox, [SHELL, "-c", "kill -SEGV $$"])).signal, "SIGSEGV");
    });

    test("kill ends the process and its children", async () => {
      const marks = [sleepMark(), sleepMark(), sleepMark()] as const;
      const survivor = isIsolated ? `(setsid sleep ${marks[2]} &) ;` : "";
      const process = await sandbox.spawn(
        spec([SHELL, "-c", `sleep ${marks[0]} & setsid sleep ${marks[1]} & ${survivor} echo ready; wait`]),
      );
      await readLine(process);
      await waitUntil(() => marks.slice(0, isIsolated ? 3 : 2).every((mark) => findProcesses(mark).length > 0), "all sleepers sleep");
      process.kill();
      const exit = await process.exited;
      assert.equal(exit.signal, "SIGKILL");
      assert.equal(exit.outOfMemory, undefined);
      assert.deepEqual(marks.flatMap(findProcesses), []);
    });

    test("when the process ends, so does what it started", async () => {
      const mark = sleepMark();
      const left = isIsolated ? "setsid sleep" : "sleep";
      const process = await sandbox.spawn(spec([SHELL, "-c", `${left} ${mark} >/dev/null 2>&1 3>&- & exit 0`]));
      assert.equal((await process.exited).code, 0);
      assert.deepEqual(findProcesses(mark), []);
    });

    test("a kill at once after the start leaves nothing", async () => {
      const mark = sleepMark();
      const process = await sandbox.spawn(spec(["/usr/bin/sleep", mark]));
      process.kill();
      assert.equal((await process.exited).signal, "SIGKILL");
      assert.deepEqual(findProcesses(mark), []);
    });

    test("too much memory ends it, with limit and peak told", async () => {
      const code = "import time\nkept = []\nwhile True:\n  kept.append(bytearray(1 << 20)); time.sleep(0.002)";
      const exit = await python(sandbox, code, { memoryMiB: 64 });
      assert.equal(exit.signal, "SIGKILL");
      assert.equal(exit.outOfMemory?.limitMiB, 64);
      const peakMiB = exit.outOfMemory?.peakMiB ?? 0;
      assert.ok(peakMiB >= 60 && peakMiB < 200, `a peak of ${peakMiB} MiB`);
    });

    test("the memory of children counts, too", async () => {
      const child = "import time; kept = bytearray(40 << 20); time.sleep(1000)";
      const code = `import subprocess, sys\nchildren = [subprocess.Popen([sys.executable, '-I', '-S', '-c', '${child}']) for _ in range(4)]\nimport os; os.wait(); os.kill(os.getpid(), 9)`;
      const exit = await python(sandbox, code, { memoryMiB: 100 });
      assert.equal(exit.outOfMemory?.limitMiB, 100);
    });

    test("memory in use is told", async () => {
      const process = await sandbox.spawn(
        spec([PYTHON, "-I", "-S", "-c", "kept = bytearray(b'x') * (30 << 20); print('ready', flush=True); import time; time.sleep(1000)"]),
      );
      await readLine(process);
      const mib = await process.memoryMiB();
      assert.ok(mib > 30 && mib < 60, `${mib} MiB`);
      process.kill();
      await process.exited;
    });

    test("a staged file and a staged folder are readable inside, wherever they lie", async () => {
      const folder = await mkdtemp(join(tmpdir(), "ks-private-"));
      chmodSync(folder, 0o700);
      mkdirSync(join(folder, "kit/lib"), { recursive: true });
      writeFileSync(join(folder, "kit/lib/data"), "from the library", { mode: 0o600 });
      writeFileSync(join(folder, "kit/run"), `#!/bin/sh\ncat "$(dirname "$0")/link"\n`, { mode: 0o700 });
      symlinkSync("lib/data", join(folder, "kit/link"));
      const [kit, again, script] = await Promise.all([
        sandbox.stage(join(folder, "kit")),
        sandbox.stage(join(folder, "kit")),
        sandbox.stage(join(folder, "kit/run")),
      ]);
      assert.deepEqual(kit, again);
      const inside = await run(sandbox, [join(kit.target, "run")], { binds: [kit], environment: { PATH: "/usr/bin" } });
      assert.equal(inside.stdout, "from the library", inside.stderr);
      const alone = await run(sandbox, ["/usr/bin/head", "-n", "1", script.target], { binds: [script] });
      assert.equal(alone.stdout, "#!/bin/sh\n", alone.stderr);
      await rm(folder, { recursive: true });
    });

    test("Node.js runs inside", async () => {
      const node = await sandbox.stage(process.execPath);
      const script = "console.log(process.version, require('node:os').cpus().length > 0)";
      const { stdout, stderr } = await run(sandbox, [node.target, "-e", script], { binds: [node], memoryMiB: 256 });
      assert.equal(stdout.trim(), `${process.version} true`, stderr);
    });

    void whereIsolated("what is linked into the shared folder later is seen inside", async () => {
      const folder = join(sandbox.sharedFolder, "later");
      mkdirSync(folder);
      const loop = "while [ ! -e /function/main ]; do sleep 0.02; done; cat /function/main; echo x > /function/other";
      const process = await sandbox.spawn(
        spec([SHELL, "-c", loop], { binds: [{ source: folder, target: "/function" }], environment: { PATH: "/usr/bin" } }),
      );
      writeFileSync(join(folder, "main"), "here");
      const ended = await end(process);
      assert.equal(ended.stdout, "here");
      assert.match(ended.stderr, /Read-only file system/);
    });

    void whereIsolated("two at once don't see each other", async () => {
      const mark = sleepMark();
      const first = await sandbox.spawn(spec([SHELL, "-c", `echo mine > /tmp/note; echo ready; exec sleep ${mark}`]));
      await readLine(first);
      const look = "ls -A /tmp /dev/shm; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /proc/*/root/tmp";
      const second = await run(sandbox, [SHELL, "-c", look], { environment: { PATH: "/usr/bin" } });
      assert.doesNotMatch(second.stdout, /note/);
      assert.ok(!second.stdout.includes(mark));
      first.kill();
      await first.exited;
    });

    void whereRoot("each has a user id of its own outside", async () => {
      const processes = await Promise.all([1, 2].map(() => sandbox.spawn(spec([SHELL, "-c", "echo ready; exec sleep 1000"]))));
      await Promise.all(processes.map(readLine));
      const uids = processes.map(({ pid }) => /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      assert.ok(
        uids.every((uid) => Number(uid) >= 200_000),
        uids.join(),
      );
      assert.notEqual(uids[0], uids[1]);
      for (const process of processes) process.kill();
      await Promise.all(processes.map(({ exited }) => exited));
    });

    void whereIsolated("a full /tmp is its own problem", async () => {
      const fill =
        "import errno\ntry:\n  with open('/tmp/x', 'wb', 0) as f:\n    while True: f.write(b'x' * (1 << 20))\nexcept OSError as e: print(errno.errorcode[e.errno])";
      assert.equal((await python(sandbox, fill, { memoryMiB: 256 })).stdout.trim(), "ENOSPC");
      assert.equal((await python(sandbox, "open('/tmp/x', 'wb').write(b'x' * (1 << 20)); print('room')")).stdout.trim(), "room");
    });

    void whereIsolated("processes are bounded", async () => {
      const bomb =
        "import errno, os, time\nmade = 0\ntry:\n  while made < 2000:\n    if os.fork() == 0: time.sleep(1000)\n    made += 1\nexcept OSError as e: print(made < 300, errno.errorcode[e.errno])";
      assert.equal((await python(sandbox, bomb, { memoryMiB: 512 })).stdout.trim(), "True EAGAIN");
    });

    test("a command is run to its end, with its output bounded", async () => {
      const script = "yes | head -c 1000000; echo problem >&2; exit 3";
      const limits = { memoryMiB: 128, timeoutMs: 20_000, maxOutputBytes: 1_000 };
      const result = await runInSandbox(sandbox, {
        ...limits,
        command: [SHELL, "-c", script],
        environment: { PATH: "/usr/bin" },
        network: "none",
        binds: [],
      });
      assert.deepEqual(
        { code: result.code, out: result.stdout.length, err: result.stderr, cut: result.truncated, late: result.timedOut },
        { code: 3, out: 1_000, err: "problem\n", cut: true, late: false },
      );
    });

    test("a command that takes too long is ended, with its output up to then", async () => {
      const mark = sleepMark();
      const command = [SHELL, "-c", `echo begun; sleep ${mark} & sleep ${mark}`];
      const result = await runInSandbox(sandbox, { command, environment: {}, memoryMiB: 64, network: "none", binds: [], timeoutMs: 400 });
      assert.deepEqual([result.timedOut, result.signal, result.stdout], [true, "SIGKILL", "begun\n"]);
      assert.deepEqual(findProcesses(mark), []);
    });

    test("a command whose caller lost interest is ended", async () => {
      const controller = new AbortController();
      const run = runInSandbox(sandbox, {
        command: ["/usr/bin/sleep", "1000"],
        environment: {},
        memoryMiB: 64,
        network: "none",
        binds: [],
        timeoutMs: 60_000,
        signal: controller.signal,
      });
      controller.abort();
      assert.equal((await run).aborted, true);
    });

    test("a writable folder is written to and read back", async () => {
      const folder = join(sandbox.sharedFolder, "work");
      mkdirSync(join(folder, "src"), { recursive: true });
      writeFileSync(join(folder, "src/input"), "in", { mode: 0o600 });
      const target = isIsolated ? "/work" : folder;
      const command = [SHELL, "-c", `cd ${target} && cat src/input > src/output && echo more >> src/input && pwd`];
      const binds = [{ source: folder, target, writable: true }];
      const result = await runInSandbox(sandbox, {
        command,
        environment: { PATH: "/usr/bin" },
        memoryMiB: 64,
        network: "none",
        binds,
        timeoutMs: 20_000,
      });
      assert.equal(result.code, 0, result.stderr);
      assert.equal(readFileSync(join(folder, "src/output"), "utf8"), "in");
    });
  });

  test(`sandbox: ${name}: stop ends what is just being started`, { skip }, async () => {
    const opened = await openSandbox(options);
    const starting = opened.sandbox.spawn(spec([SHELL, "-c", "sleep 600"]));
    await opened.close();
    // Its end was waited for by the stop.
    let hasEnded = false;
    void (await starting).exited.then(() => (hasEnded = true));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(hasEnded, true);
    await assert.rejects(opened.sandbox.spawn(spec([SHELL, "-c", "sleep 600"])), /shutting down/);
  });

  test(`sandbox: ${name}: stop ends everything`, { skip }, async () => {
    const { sandbox, close } = await openSandbox(options);
    const marks = [sleepMark(), sleepMark()];
    const processes = await Promise.all(marks.map((mark) => sandbox.spawn(spec(["/usr/bin/sleep", mark], { network: "outbound" }))));
    await close();
    assert.deepEqual(marks.flatMap(findProcesses), []);
    for (const { exited } of processes) assert.equal((await exited).signal, "SIGKILL");
  });
}
