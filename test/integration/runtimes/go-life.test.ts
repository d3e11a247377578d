import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { buildGoEnvironment } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { GO_CACHE, GO_TOOLCHAINS, GOS, type Go, ping, useGoShims } from "./gos.ts";
import { Shim } from "./support.ts";

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, "../../..");

/** Runs until its caller goes. */
const WAIT = 'import "context"\nfunc Handler(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }';

for (const go of GOS) {
  describe(go.name, { skip: go.missing ?? false }, () => {
    describeUnits(go);
    describeContext(go);
    describeLife(go);
  });
}

function describeUnits(go: Go): void {
  test("the packages' own tests", async () => {
    const toolchain = GO_TOOLCHAINS.find(({ program }) => program === go.program);
    const home = join(GO_CACHE, `home-${toolchain?.version}`);
    await mkdir(home, { recursive: true });
    const environment = buildGoEnvironment(home);
    await run(go.program, ["test", "-vet=off", "./..."], { cwd: join(ROOT, "runtimes/go"), env: environment });
  });
}

function describeContext(go: Go): void {
  const load = useGoShims(go);

  test("the context knows the call", async () => {
    const shim = await load(
      `
      import ("context"; "time")
      func Handler(ctx context.Context, event map[string]any) any {
        deadline, ok := ctx.Deadline()
        left := time.Until(deadline)
        child, cancel := context.WithCancel(ctx)
        defer cancel()
        var values []any
        for _, name := range []string{"requestId", "awsRequestId", "functionName", "functionVersion", "memoryLimitInMB", "invokedFunctionArn", "logGroupName", "logStreamName", "traceparent", "unknown"} {
          values = append(values, child.Value(name))
        }
        return append(values, ok, left > 20*time.Second && left <= 30*time.Second, string(ctx.Value("rawBody").([]byte)), ctx.Value("deadline") == any(deadline))
      }`,
      { meta: { revision: 7 } },
    );
    const { body } = await shim.call("[1]", { traceparent: "00-1-2-01" });
    assert.deepEqual(JSON.parse(body.toString()), [
      "request-1",
      "request-1",
      "hello",
      "7",
      256,
      "kube-serverless:hello:7",
      "/kube-serverless/hello",
      "7/u-1",
      "00-1-2-01",
      null,
      true,
      true,
      "[1]",
      true,
    ]);
  });

  test("the deadline comes, and CANCEL before it", async () => {
    const shim = await load('import "context"\nfunc Handler(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }');
    assert.equal((await shim.call("", { timeoutMs: 20 })).error?.["message"], "context deadline exceeded");
    const stream = shim.sendCall();
    await ping(shim);
    shim.send(FrameType.CANCEL, stream);
    assert.equal((await shim.answer(stream)).error?.["message"], "context canceled");
  });

  test("a caller that goes before its body is whole leaves no call behind", async () => {
    const shim = await load("func Handler(event map[string]any) any { return 1 }", { concurrency: 1 });
    shim.send(
      FrameType.CALL,
      1000,
      { id: "a", method: "POST", path: "/", query: {}, headers: {}, trigger: { type: "http" }, timeoutMs: 1000 },
      "a",
      true,
    );
    shim.send(FrameType.CANCEL, 1000);
    assert.equal((await shim.answer(1000)).error?.["message"], "the caller went away");
    shim.send(FrameType.DATA, 1000, undefined, "late");
    assert.equal((await shim.call()).body.toString(), "1");
  });

  test("log and logger write lines of the call, fmt.Println goes to descriptor 1", async () => {
    const shim = await load(`
      import ("context"; "fmt"; "log"; "strings"; "os")
      func Handler(ctx context.Context) any {
        ctx.Value("log").(func(...any))("one", 2, "drei ü")
        logger := ctx.Value("logger").(*log.Logger)
        logger.Printf("four\\n%d", 5)
        logger.Print(strings.Repeat("x", 70000))
        fmt.Println("plain")
        fmt.Fprintln(os.Stderr, "error")
        return nil
      }`);
    await shim.call();
    await shim.until("descriptors", () => shim.printed.includes("plain") && shim.printed.includes("error"));
    const lines = shim.logLines();
    assert.deepEqual(
      lines.slice(0, 3).map(({ text }) => text),
      ["one 2 drei ü", "four", "5"],
    );
    assert(lines.every(({ requestId, stream }) => requestId === "request-1" && stream === "stdout"));
    assert.equal(lines[3]?.text.length, 65_536);
    assert.equal(lines[3]?.truncated, true);
  });

  test("a flood of log lines waits for a gateway that does not read", async () => {
    const shim = await load(`
      import ("context"; "strings")
      var printed int
      func Handler(ctx context.Context) any {
        line := strings.Repeat("x", 10000)
        for ; printed < 5000; printed++ { ctx.Value("log").(func(...any))(line) }
        return printed
      }`);
    shim.pause();
    const stream = shim.sendCall();
    shim.resume();
    assert.equal((await shim.answer(stream)).body.toString(), "5000");
    assert.equal(shim.logLines().length, 5000);
  });
}

function describeLife(go: Go): void {
  const load = useGoShims(go);

  test("the launcher answers PING before it is specialised, and says HELLO once", async (t) => {
    const code = "package main\nfunc Handler() int { return 1 }";
    const shim = await go.start(code);
    t.after(() => shim.stop());
    const hello = await shim.hello();
    assert.equal(hello.meta["protocol"], 1);
    assert.equal(hello.meta["language"], "go");
    assert.match(String(hello.meta["version"]), /^1\.\d+/);
    assert.deepEqual(await ping(shim), { inFlight: 0 });
    shim.sendSpecialise({ code, handler: "Handler" });
    assert.equal((await shim.call()).body.toString(), "1");
    assert.deepEqual(await ping(shim), { inFlight: 0 });
    assert.deepEqual(
      shim.frames.map(({ kind }) => kind),
      [FrameType.HELLO, FrameType.PONG, FrameType.READY, 200, FrameType.PONG],
    );
    assert.equal(typeof shim.frames[2]?.meta["loadMs"], "number");
  });

  test("a program without a launcher serves too, and sees the same environment", async (t) => {
    const code =
      'package main\nimport "os"\nvar early = os.Getenv("A")\nfunc Handler() any { return []any{early, os.Getenv("TZ"), os.Getenv("HOME"), os.Getenv("PATH"), os.Getenv("B"), len(os.Args)} }';
    const direct = new Shim({ command: [await go.build(code)], environment: { PATH: "/bin", HOME: "/tmp", B: "hidden" } });
    t.after(() => direct.stop());
    const launched = await go.start(code);
    t.after(() => launched.stop());
    const specialisation = { code, handler: "Handler", environment: { A: "eins", TZ: "Asia/Tokyo", HOME: "/root" } };
    await direct.specialise(specialisation);
    assert.deepEqual(JSON.parse((await direct.call()).body.toString()), ["eins", "Asia/Tokyo", "/tmp", "/bin", "", 1]);
    await launched.specialise(specialisation);
    assert.deepEqual(JSON.parse((await launched.call()).body.toString()), ["eins", "Asia/Tokyo", "/tmp", "/usr/bin:/bin", "", 1]);
  });

  test("a program that is not there is FAILED", async (t) => {
    const shim = await go.launch("/nowhere/handler");
    t.after(() => shim.stop());
    const { kind, meta } = await shim.specialise({ code: "", handler: "Handler" });
    assert.equal(kind, FrameType.FAILED);
    assert.equal(meta["reason"], "LoadError");
    assert.match(String(meta["message"]), /^LoadError: \/nowhere\/handler: /);
  });

  test("calls run at once up to the concurrency, one more is BUSY", async () => {
    const shim = await load(WAIT, { concurrency: 3 });
    const streams = [shim.sendCall(), shim.sendCall(), shim.sendCall()];
    assert.deepEqual(await ping(shim), { inFlight: 3 });
    assert.equal((await shim.call()).isBusy, true);
    for (const stream of streams) shim.send(FrameType.CANCEL, stream);
    for (const stream of streams) assert.equal((await shim.answer(stream)).error?.["message"], "context canceled");
    assert.deepEqual(await ping(shim), { inFlight: 0 });
  });

  test("an answered call's place is free for the next one at once", async () => {
    const shim = await load("func Handler() int { return 1 }", { concurrency: 1 });
    for (let i = 0; i < 200; i += 1) assert.equal((await shim.call()).isBusy, false);
  });

  test("DRAIN waits for what runs, refuses what comes, and exits with 0", async () => {
    const shim = await load(WAIT);
    const running = shim.sendCall();
    await ping(shim);
    shim.send(FrameType.DRAIN, 0);
    assert.equal((await shim.call()).isBusy, true);
    assert.deepEqual(await ping(shim), { inFlight: 1 });
    shim.send(FrameType.CANCEL, running);
    assert.equal((await shim.exited).code, 0);
    assert.equal((await shim.answer(running)).error?.["message"], "context canceled");
  });

  test("DRAIN before SPECIALISE, and an idle one, end with 0", async () => {
    const waiting = await go.start("package main\nfunc Handler() int { return 1 }");
    await waiting.hello();
    waiting.send(FrameType.DRAIN, 0);
    assert.equal((await waiting.exited).code, 0);
    const idle = await load("func Handler() int { return 1 }");
    idle.send(FrameType.DRAIN, 0);
    assert.equal((await idle.exited).code, 0);
  });

  test("the end of the stream ends it at once, whatever runs", async () => {
    const shim = await load("func Handler() { select {} }");
    shim.sendCall();
    await ping(shim);
    shim.hangUp();
    assert.equal((await shim.exited).code, 0);
  });

  test("a frame that breaks the protocol ends it", async () => {
    const shim = await load("func Handler() int { return 1 }");
    shim.send(FrameType.SPECIALISE, 0, {}, Buffer.alloc(4));
    assert.equal((await shim.exited).code, 1);
  });

  test("what the function starts inherits neither the connection nor its arguments", async () => {
    const shim = await load(`
      import ("os"; "os/exec")
      func Handler() any { out, _ := exec.Command("ls", "-l", "/proc/self/fd").Output(); return []any{string(out), os.Args} }`);
    const [descriptors] = JSON.parse((await shim.call()).body.toString());
    assert.match(descriptors, / 2 -> /);
    assert.doesNotMatch(descriptors, /socket/);
  });

  test("the language is that of Go 1.19 whatever compiles it", async () => {
    const shim = await load(`
      func Handler() any {
        var functions []func() int
        for i := 0; i < 3; i++ { functions = append(functions, func() int { return i }) }
        return []int{functions[0](), functions[1](), functions[2]()}
      }`);
    assert.equal((await shim.call()).body.toString(), "[3,3,3]");
  });

  test("many calls at once get their own answers", async () => {
    const shim = await load('func Handler(event map[string]any) any { return event["body"] }', { concurrency: 1000 });
    const streams = Array.from({ length: 500 }, (_, i) => shim.sendCall(JSON.stringify({ i })));
    const answers = await Promise.all(streams.map((stream) => shim.answer(stream)));
    assert.deepEqual(
      answers.map(({ body }) => JSON.parse(body.toString()).i),
      streams.map((_, i) => i),
    );
  });
}
