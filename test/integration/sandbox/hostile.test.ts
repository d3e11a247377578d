import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Sandbox, SandboxedProcess } from "../../../packages/server/src/instances/local/sandbox/port.ts";
import { runInSandbox } from "../../../packages/server/src/instances/local/sandbox/run-in-sandbox.ts";
import { DENIED, JUDGED } from "../../../packages/server/src/instances/local/sandbox/system-calls.ts";
import {
  type Attack,
  buildFileAttacks,
  buildKernelAttacks,
  buildNetworkAttacks,
  buildProcessAttacks,
  buildResourceAttacks,
  type Targets,
} from "./attacks.ts";
import { findAttackers } from "./attackers.ts";
import { buildSteps } from "./steps.ts";
import {
  end,
  findProcesses,
  type OpenedSandbox,
  openSandbox,
  PYTHON,
  readLine,
  run,
  SHELL,
  sleepMark,
  spec,
  waitUntil,
  whyNot,
} from "./support.ts";

const skip = whyNot("bwrap", "pasta", "ip", "python3");
const architecture = process.arch === "arm64" ? "arm64" : "x64";
const calls: Record<string, number> = Object.fromEntries(
  [...DENIED.flatMap((group) => group.calls), ...Object.values(JUDGED)].map((call) => [call.name, call[architecture] ?? -1]),
);

describe("hostile functions in bubblewrap", { skip }, () => {
  let opened: OpenedSandbox;
  let sandbox: Sandbox;
  let neighbour: SandboxedProcess;
  let listeners: Server[];
  let targets: Targets;
  let node: { source: string; target: string };
  let shim: { source: string; target: string };

  before(async () => {
    opened = await openSandbox({ mode: "require" });
    sandbox = opened.sandbox;
    node = await sandbox.stage(process.execPath);
    const folder = join(opened.folder, "kit");
    mkdirSync(folder);
    writeFileSync(join(folder, "shim.js"), "// shim");
    const secretFile = join(opened.folder, "secret");
    writeFileSync(secretFile, "secret", { mode: 0o644 });
    shim = await sandbox.stage(folder);
    const abstractSocket = `ks-test-${process.pid}`;
    listeners = await listenEverywhere(abstractSocket);
    const address = listeners[0]?.address();
    const hostAddresses = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0)
      .map(({ address }) => address);
    targets = {
      serverPid: process.pid,
      secretFile,
      shim: join(shim.target, "shim.js"),
      port: typeof address === "object" && address !== null ? address.port : 0,
      hostAddresses,
      abstractSocket,
    };
    neighbour = await sandbox.spawn(spec([SHELL, "-c", "echo here > /tmp/note; while read -r line <&3; do cat /tmp/note >&3; done"]));
  });

  after(async () => {
    for (const listener of listeners ?? []) listener.close();
    await opened.close();
  });

  const attack = async ({ language, code, expected, network = "none", memoryMiB = 128 }: Attack) => {
    const command = language === "python" ? [PYTHON, "-I", "-S", "-c", code] : [node.target, "-e", code];
    const ended = await run(sandbox, command, { network, memoryMiB, binds: [node, shim], environment: { PATH: "/usr/bin:/bin" } });
    const printed = ended.stdout.trim();
    const told = `${ended.stderr}${JSON.stringify({ code: ended.code, signal: ended.signal, outOfMemory: ended.outOfMemory })}`;
    if (typeof expected === "string") assert.equal(printed, expected, told);
    else assert.match(printed, expected, told);
  };

  /** The neighbour still answers with its own file, and a new sandbox starts. */
  const checkHealth = async () => {
    const answer = new Promise<string>((resolve) => neighbour.frames.once("data", (chunk: Buffer) => resolve(chunk.toString())));
    neighbour.frames.write("hello\n");
    assert.equal(await answer, "here\n");
    assert.equal((await run(sandbox, ["/usr/bin/echo", "well"])).stdout, "well\n");
    assert.deepEqual(
      sandbox.strength.degraded.filter((name) => name === "network-down"),
      [],
    );
  };

  const attackAll = (name: string, build: () => Attack[]) =>
    test(name, async (context) => {
      for (const one of build()) await context.test(`${one.language}: ${one.name}`, () => attack(one));
      await context.test("everyone else is well", checkHealth);
    });

  void attackAll("files", () => buildFileAttacks(targets));
  void attackAll("processes", () => buildProcessAttacks(targets, calls));
  void attackAll("kernel", () => buildKernelAttacks(architecture, calls));
  void attackAll("network", () => buildNetworkAttacks(targets, sandbox.strength.network !== "host"));
  void attackAll("resources", buildResourceAttacks);

  test("the same in every language", async (context) => {
    const attackers = await findAttackers(sandbox, node);
    for (const [group, steps] of Object.entries(buildSteps(targets, calls))) {
      for (const { language, command, binds, missing, makesSystemCalls } of attackers) {
        await context.test(`${language}: ${group}`, { skip: missing ?? false }, async () => {
          const able = steps.filter(({ needsSystemCalls }) => needsSystemCalls !== true || makesSystemCalls);
          for (const network of ["none", "outbound"] as const) {
            const chosen = able.filter((step) => (step.network ?? "none") === network);
            if (chosen.length === 0 || (network === "outbound" && sandbox.strength.network === "host")) continue;
            const lines = chosen.map(({ line }) => line);
            const { stdout, stderr } = await run(sandbox, [...command, ...lines], { network, memoryMiB: 256, binds: [shim, ...binds] });
            const met = stdout.trim().split("\n");
            assert.equal(met.length, chosen.length, `${stdout}${stderr}`);
            for (const [index, { line, expected }] of chosen.entries()) assert.match(met[index] ?? "", expected, `${line} (${network})`);
          }
        });
      }
    }
    await context.test("everyone else is well", checkHealth);
  });

  test("replicas don't reach each other by the network they share", async () => {
    const code =
      "import socket, sys\ns = socket.socket(); s.bind(('0.0.0.0', 45321)); s.listen(); print('ready', flush=True); s.accept(); print('reached')";
    const listening = await sandbox.spawn(spec([PYTHON, "-I", "-S", "-c", code], { network: "outbound" }));
    await readLine(listening);
    const reach =
      "import socket\nfor a in ('127.0.0.1', '0.0.0.0', socket.gethostbyname('localhost')):\n  try: socket.create_connection((a, 45321), 2); print('reached')\n  except OSError as e: print(e.errno)";
    const { stdout } = await run(sandbox, [PYTHON, "-I", "-S", "-c", reach], { network: "outbound" });
    assert.equal(stdout, "101\n101\n101\n");
    listening.kill();
    await listening.exited;
  });

  test("memory off the heap, in files without a name and on the heap ends the process alone", async (context) => {
    const isCounted = sandbox.strength.memory !== "polled";
    const hogs: [string, string[]][] = [
      ["Python's heap", [PYTHON, "-I", "-S", "-c", "kept = []\nwhile True: kept.append(bytearray(1 << 20))"]],
      ["buffers", [node.target, "-e", "const kept = []; setInterval(() => kept.push(Buffer.alloc(8 << 20, 1)), 1)"]],
    ];
    // Polling sees what processes have mapped, and no files.
    if (isCounted) {
      const code = "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, b'x' * (1 << 20))";
      hogs.push(["files without a name", [PYTHON, "-I", "-S", "-c", code]]);
    }
    for (const [name, command] of hogs) {
      await context.test(name, async () => {
        const ended = await run(sandbox, command, { memoryMiB: 96, binds: [node] });
        assert.equal(ended.outOfMemory?.limitMiB, 96, ended.stderr);
      });
    }
    await checkHealth();
  });

  test("a million empty files are bounded by memory or refused", async () => {
    if (sandbox.strength.memory === "polled") return;
    const code = "i = 0\ntry:\n  while i < 1000000: open('/tmp/' + str(i), 'w').close(); i += 1\nexcept OSError: pass\nprint(i)";
    const ended = await run(sandbox, [PYTHON, "-I", "-S", "-c", code], { memoryMiB: 64 });
    assert.ok(ended.outOfMemory !== undefined || Number(ended.stdout) < 1_000_000, JSON.stringify(ended));
    await checkHealth();
  });

  test("a flood of output costs the server no memory", async () => {
    const before = process.memoryUsage().rss;
    const flood = {
      command: ["/usr/bin/head", "-c", "512M", "/dev/zero"],
      environment: {},
      memoryMiB: 64,
      network: "none",
      binds: [],
    } as const;
    const result = await runInSandbox(sandbox, { ...flood, timeoutMs: 60_000, maxOutputBytes: 1_000 });
    assert.deepEqual([result.code, result.stdout.length, result.truncated], [0, 1_000, true]);
    assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
    await checkHealth();
  });

  test("neither spinning nor stopping itself keeps a process alive", async () => {
    for (const script of ["while :; do :; done", "kill -STOP $$"]) {
      const mark = sleepMark();
      const process = await sandbox.spawn(spec([SHELL, "-c", `sleep ${mark} & echo ready; ${script}`]));
      await readLine(process);
      process.kill();
      assert.equal((await end(process)).signal, "SIGKILL");
      assert.deepEqual(findProcesses(mark), []);
    }
  });

  test("a bomb of processes that breed leaves nothing behind", async () => {
    const mark = sleepMark();
    const bomb = `import os, time\nend = time.time() + 1\nwhile time.time() < end:\n  try: os.fork()\n  except OSError: time.sleep(0.05)\nos.execv('/usr/bin/sleep', ['sleep', '${mark}'])`;
    const process = await sandbox.spawn(spec([PYTHON, "-I", "-S", "-c", bomb], { memoryMiB: 512 }));
    await waitUntil(() => findProcesses(mark).length > 1, "the bomb has gone off");
    await checkHealth();
    process.kill();
    await process.exited;
    assert.deepEqual(findProcesses(mark), []);
    await checkHealth();
  });
});

/** On every address of both families, and by an abstract socket, as a desktop's services do. */
async function listenEverywhere(abstractSocket: string): Promise<Server[]> {
  const everywhere = createServer((socket) => socket.end("control"));
  const abstract = createServer((socket) => socket.end("control"));
  await new Promise<void>((resolve) => everywhere.listen({ port: 0, host: "::" }, resolve));
  await new Promise<void>((resolve) => abstract.listen(`\0${abstractSocket}`, resolve));
  return [everywhere, abstract];
}
