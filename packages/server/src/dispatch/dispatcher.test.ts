import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import fc from "fast-check";
import { ManualClock } from "../clock.ts";
import type { RevisionRef } from "../instances/port.ts";
import { RuntimeNotStarted } from "../instances/runtime-not-started.ts";
import { Call, type CallReceiver } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import { Dispatcher } from "./dispatcher.ts";
import { FakeProvider } from "./fake-replicas.ts";
import { compileScalingPolicy } from "./function-scaler.ts";
import type { ScaleBounds } from "./replica-set.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function buildRevision(revision: number, concurrency: number): RevisionRef {
  return {
    uid: "u1",
    name: "f",
    revision,
    spec: {
      name: "f",
      runtime: "nodejs18",
      handler: "index.handler",
      environment: {},
      minReplicas: 0,
      maxReplicas: 10,
      triggers: [],
      timeout: 30,
      memory: 256,
      concurrency,
      network: "outbound",
    },
  };
}

/** Remembers how a call ended, and that it ended once. */
class Outcome implements CallReceiver {
  heads = 0;
  error: KsError | undefined;
  get ends(): number {
    return this.heads + (this.error === undefined ? 0 : 1);
  }
  onHead(): void {
    this.heads++;
  }
  onData(): void {}
  onFailed(_call: Call, error: KsError): void {
    assert.equal(this.ends, 0, "a call that has ended fails");
    this.error = error;
  }
}

interface HouseOptions extends Partial<ScaleBounds> {
  concurrency?: number;
  maxCalls?: number;
  queueTimeoutMs?: number;
  served?: boolean;
}

function buildHouse(options: HouseOptions = {}) {
  const clock = new ManualClock();
  const provider = new FakeProvider(clock);
  const ended: { call: Call; error: KsError | undefined }[] = [];
  let bounds: ScaleBounds = { minReplicas: options.minReplicas ?? 0, maxReplicas: options.maxReplicas ?? 10 };
  const dispatcher = new Dispatcher(bounds, {
    clock,
    provider,
    queueLimits: { maxCalls: options.maxCalls ?? 1000, maxBytes: 1_000_000 },
    queueTimeoutMs: options.queueTimeoutMs ?? 60_000,
    policy: compileScalingPolicy(60_000),
    onCallEnded: (call, error) => ended.push({ call, error }),
  });
  const serve = (number: number, warm = provider.replicas.slice(0, 0)): void => {
    const revision = buildRevision(number, options.concurrency ?? 10);
    dispatcher.serve({ revision: { ...revision, spec: { ...revision.spec, ...bounds } }, code: () => "" }, warm);
  };
  const setBounds = (changed: ScaleBounds): void => dispatcher.setBounds((bounds = changed));
  if (options.served !== false) serve(1);
  const submit = (): { call: Call; outcome: Outcome } => {
    const outcome = new Outcome();
    const head = { id: "r", method: "POST", path: "/", query: {}, headers: {}, trigger: { type: "invoke" as const }, timeoutMs: 30_000 };
    const call = new Call(dispatcher, head, [], 100, outcome, clock.monotonicMs());
    dispatcher.submit(call);
    return { call, outcome };
  };
  return { clock, provider, dispatcher, submit, ended, serve, setBounds };
}

describe("Dispatcher", () => {
  test("starts one replica for the first call and gives it the call behind SPECIALISE", async () => {
    const { provider, submit } = buildHouse();
    const { call, outcome } = submit();
    assert.equal(provider.replicas.length, 1);
    assert.equal(provider.replicas[0]!.calls.length, 1);
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    assert.equal(outcome.heads, 1);
    assert.equal(call.times.cold, true);
  });

  test("gives way to its successor: calls wait for that, or for the old revision when nothing comes of it", async () => {
    const { provider, dispatcher, submit, serve } = buildHouse({ maxReplicas: 1 });
    submit();
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    dispatcher.expect();
    const [yielding] = dispatcher.yieldingReplicas();
    assert.equal(yielding?.replica, provider.replicas[0]);
    yielding?.giveUp();
    assert.deepEqual(dispatcher.yieldingReplicas(), []);
    await settle();
    provider.refusal = new KsError("NO_CAPACITY");
    const first = submit();
    assert.equal(first.outcome.ends, 0);
    provider.refusal = undefined;
    dispatcher.expectNoMore();
    provider.replicas[1]!.becomeReady();
    provider.replicas[1]!.answer();
    assert.equal(first.outcome.heads, 1);

    dispatcher.expect();
    dispatcher.idleReplicas()[0]!.giveUp();
    await settle();
    provider.refusal = new KsError("NO_CAPACITY");
    const second = submit();
    provider.refusal = undefined;
    const successor = provider.startReplica(buildRevision(2, 10), () => "");
    successor.becomeReady();
    serve(2, [successor]);
    successor.answer();
    assert.equal(second.outcome.heads, 1);

    provider.refusal = new KsError("NO_CAPACITY");
    dispatcher.idleReplicas()[0]!.giveUp();
    await settle();
    assert.equal(submit().outcome.error?.code, "NO_CAPACITY");
  });

  test("says cold only of calls that waited for the start", async () => {
    const { provider, submit, clock } = buildHouse();
    submit();
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    await clock.advance(5);
    const { call } = submit();
    provider.replicas[0]!.answer();
    assert.equal(call.times.cold, false);
  });

  test("five calls at once on a cold function start what they need, not five replicas", () => {
    const { provider, submit } = buildHouse({ concurrency: 10 });
    for (let i = 0; i < 5; i++) submit();
    assert.equal(provider.replicas.length, 1);
    const cramped = buildHouse({ concurrency: 1 });
    for (let i = 0; i < 5; i++) cramped.submit();
    assert.equal(cramped.provider.replicas.length, 5);
  });

  test("queues beyond maxReplicas and answers OVERLOADED beyond the queue", async () => {
    const { provider, submit } = buildHouse({ concurrency: 1, maxReplicas: 2, maxCalls: 3 });
    const calls = Array.from({ length: 6 }, submit);
    assert.equal(provider.replicas.length, 2);
    assert.equal(calls[5]!.outcome.error?.code, "OVERLOADED");
    assert.deepEqual(calls[5]!.outcome.error?.details, { queued: 3, maxQueued: 3, queuedBytes: 300, maxQueuedBytes: 1_000_000 });
    for (const replica of provider.replicas) replica.becomeReady();
    provider.replicas[0]!.answer();
    assert.equal(provider.replicas[0]!.calls.length, 1, "the freed slot takes the next one");
  });

  test("answers NO_CAPACITY to what waited too long, and only to that", async () => {
    const { clock, provider, submit } = buildHouse({ concurrency: 1, maxReplicas: 1, queueTimeoutMs: 1000 });
    submit();
    provider.replicas[0]!.becomeReady();
    const early = submit();
    await clock.advance(600);
    const late = submit();
    await clock.advance(500);
    assert.equal(early.outcome.error?.code, "NO_CAPACITY");
    assert.equal(late.outcome.ends, 0);
    await clock.advance(600);
    assert.equal(late.outcome.error?.code, "NO_CAPACITY");
  });

  test("a call in a replica that never starts waits no longer than one in the queue, and its handler never runs for it", async () => {
    const { clock, provider, submit, ended, dispatcher } = buildHouse({ queueTimeoutMs: 1000 });
    const early = submit();
    await clock.advance(600);
    const late = submit();
    await clock.advance(401);
    assert.equal(early.outcome.error?.code, "NO_CAPACITY");
    assert.match(early.outcome.error.message, /1 s for a place; .* of which 0 have started/);
    assert.equal(late.outcome.ends, 0);
    const [given] = provider.replicas[0]!.calls;
    assert.equal(given!.cancelled, true);
    given!.sink.onNotStarted(new KsError("CLIENT_CLOSED"));
    assert.deepEqual([ended.length, ended[0]?.error?.code], [1, "NO_CAPACITY"]);
    provider.replicas[0]!.becomeReady();
    await clock.advance(5000);
    provider.replicas[0]!.answer(provider.replicas[0]!.calls[1]);
    assert.deepEqual([late.outcome.heads, dispatcher.inFlight], [1, 0]);
  });

  test("tells NO_CAPACITY at once when the machine is full and nothing serves the function", () => {
    const { provider, submit } = buildHouse();
    provider.refusal = new KsError("NO_CAPACITY");
    assert.equal(submit().outcome.error?.code, "NO_CAPACITY");
  });

  test("calls wait on while the runtime does not start, and are told that when their time is over", async () => {
    const { clock, provider, submit, ended } = buildHouse({ concurrency: 1, maxReplicas: 1, queueTimeoutMs: 60_000 });
    const calls = [submit(), submit()];
    for (let i = 0; i < 30; i++) {
      for (const replica of provider.living) replica.crash(new RuntimeNotStarted("nodejs18", "no HELLO", undefined));
      await clock.advance(1990);
      assert.equal(ended.length, 0, `after ${i} rounds`);
    }
    assert.ok(provider.replicas.length >= 6, `${provider.replicas.length} starts`);
    assert.ok(provider.replicas.length <= 12, `${provider.replicas.length} starts`);
    await clock.advance(1000);
    for (const { outcome } of calls) {
      assert.equal(outcome.error?.code, "NO_CAPACITY");
      assert.match(outcome.error.message, /waited 60 s .* another could not be had: the runtime nodejs18 did not start: no HELLO/);
    }
  });

  test("a call that waited through slow starts is answered by the first replica that comes", async () => {
    const { clock, provider, submit } = buildHouse({ concurrency: 1, maxReplicas: 2 });
    const calls = [submit(), submit(), submit()];
    for (let i = 0; i < 4; i++) {
      for (const replica of provider.living) replica.crash(new RuntimeNotStarted("nodejs18", "no HELLO", undefined));
      await clock.advance(1000 * 2 ** i);
    }
    await clock.advance(10_000);
    for (let i = 0; i < 3; i++) {
      for (const replica of provider.living) {
        replica.becomeReady();
        if (replica.calls.length > 0) replica.answer();
      }
      await clock.advance(1);
    }
    assert.deepEqual(
      calls.map(({ outcome }) => outcome.heads),
      [1, 1, 1],
    );
  });

  test("what waited too long is told the machine's limit where that binds, and the function's where that does", async () => {
    const { clock, provider, submit } = buildHouse({ concurrency: 1, maxReplicas: 2, queueTimeoutMs: 1000 });
    submit();
    provider.replicas[0]!.becomeReady();
    provider.refusal = new KsError("NO_CAPACITY", {
      message: "No capacity: 1 of 1 replicas are in use. Raise --max-replicas",
      details: { maxReplicas: 1 },
    });
    const bound = submit();
    await clock.advance(1001);
    assert.match(
      bound.outcome.error!.message,
      /1 of at most 2 replicas; another could not be had: 1 of 1 replicas are in use. Raise --max-replicas$/,
    );
    assert.deepEqual((bound.outcome.error!.details as { obstacle: unknown }).obstacle, { maxReplicas: 1 });
    provider.refusal = undefined;
    const started = submit();
    provider.replicas[1]!.becomeReady();
    await settle();
    const own = submit();
    await clock.advance(1001);
    assert.equal(started.outcome.ends, 0);
    assert.match(own.outcome.error!.message, /of at most 2 replicas$/);
  });

  test("moves what had not begun to another replica, and gives up after some tries", async () => {
    const { clock, provider, submit } = buildHouse();
    const { outcome } = submit();
    provider.replicas[0]!.crash(new KsError("FUNCTION_CRASHED"));
    await settle();
    assert.equal(outcome.ends, 0);
    assert.equal(provider.living.length, 1);
    for (let i = 0; i < 4; i++) {
      provider.living[0]?.crash(new KsError("FUNCTION_CRASHED"));
      await clock.advance(1000);
    }
    assert.equal(outcome.error?.code, "FUNCTION_CRASHED");
  });

  test("never repeats a call that may have begun", () => {
    const { provider, submit } = buildHouse();
    const { outcome } = submit();
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.crash(new KsError("FUNCTION_CRASHED"));
    assert.equal(outcome.error?.code, "FUNCTION_CRASHED");
  });

  test("scales to zero 60 s after the last call has ended", async () => {
    const { clock, provider, submit, dispatcher } = buildHouse();
    submit();
    provider.replicas[0]!.becomeReady();
    await clock.advance(40_000);
    provider.replicas[0]!.answer();
    await clock.advance(59_000);
    dispatcher.evaluate();
    assert.equal(dispatcher.replicas, 1);
    await clock.advance(2_000);
    dispatcher.evaluate();
    assert.equal(dispatcher.replicas, 0);
    assert.equal(provider.living.length, 0);
    assert.equal(dispatcher.scaling().decisions.at(-1)?.reason, "idle");
  });

  test("a call in the moment of scaling down starts anew instead of failing", async () => {
    const { clock, provider, submit, dispatcher } = buildHouse();
    submit();
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    await clock.advance(61_000);
    dispatcher.evaluate();
    const { outcome } = submit();
    assert.equal(provider.replicas.length, 2);
    provider.replicas[1]!.becomeReady();
    provider.replicas[1]!.answer();
    assert.equal(outcome.heads, 1);
  });

  test("keeps minReplicas and replaces one that dies", async () => {
    const { provider, dispatcher } = buildHouse({ minReplicas: 2 });
    dispatcher.evaluate();
    assert.equal(provider.living.length, 2);
    for (const replica of provider.living) replica.becomeReady();
    provider.replicas[0]!.crash(new KsError("FUNCTION_CRASHED"));
    await settle();
    assert.equal(provider.living.length, 2);
  });

  test("an update drains the old revision: calls within end there, new ones go to the new", async () => {
    const { provider, submit, serve } = buildHouse();
    const old = submit();
    provider.replicas[0]!.becomeReady();
    await settle();
    const fresh = provider.startReplica(buildRevision(2, 10), () => "");
    fresh.becomeReady();
    serve(2, [fresh]);
    const next = submit();
    assert.equal(next.call.times.revision, 2);
    assert.equal(provider.replicas[0]!.draining, true);
    provider.replicas[0]!.answer();
    assert.equal(old.outcome.heads, 1);
    assert.equal(old.call.times.revision, 1);
  });

  test("calls wait while the function is deployed, and are told why when that fails", () => {
    const waiting = buildHouse({ served: false });
    const first = waiting.submit();
    assert.equal(first.outcome.ends, 0);
    waiting.dispatcher.fail(new KsError("FUNCTION_FAILED", { message: "SyntaxError" }));
    assert.equal(first.outcome.error?.code, "FUNCTION_FAILED");
    assert.equal(waiting.submit().outcome.error?.code, "FUNCTION_FAILED");
    waiting.dispatcher.expect();
    const second = waiting.submit();
    waiting.serve(2);
    waiting.provider.replicas[0]!.becomeReady();
    waiting.provider.replicas[0]!.answer();
    assert.equal(second.outcome.heads, 1);
  });

  test("a caller that leaves the queue is counted as CLIENT_CLOSED and takes no slot", () => {
    const { provider, submit, ended } = buildHouse({ concurrency: 1, maxReplicas: 1 });
    submit();
    const gone = submit();
    gone.call.abandon();
    assert.equal(ended[0]?.error?.code, "CLIENT_CLOSED");
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    assert.equal(provider.replicas[0]!.calls.length, 0);
  });

  test("a caller that leaves in the handler holds the place until the handler ends", () => {
    const { provider, submit, ended } = buildHouse({ concurrency: 1, maxReplicas: 1 });
    const gone = submit();
    provider.replicas[0]!.becomeReady();
    gone.call.abandon();
    assert.equal(provider.replicas[0]!.calls[0]!.cancelled, true);
    submit();
    assert.equal(provider.replicas[0]!.calls.length, 1);
    provider.replicas[0]!.answer();
    assert.equal(ended[0]?.error?.code, "CLIENT_CLOSED");
    assert.equal(provider.replicas[0]!.calls.length, 1);
  });

  test("closing answers what waits and resolves when what runs has ended", async () => {
    const { provider, submit, dispatcher } = buildHouse({ concurrency: 1, maxReplicas: 1 });
    const running = submit();
    const waiting = submit();
    provider.replicas[0]!.becomeReady();
    let closed = false;
    const closing = dispatcher.close(new KsError("FUNCTION_NOT_FOUND")).then(() => (closed = true));
    assert.equal(waiting.outcome.error?.code, "FUNCTION_NOT_FOUND");
    await settle();
    assert.equal(closed, false);
    provider.replicas[0]!.answer();
    await closing;
    assert.equal(running.outcome.heads, 1);
    assert.equal(submit().outcome.error?.code, "FUNCTION_NOT_FOUND");
  });

  test("holds the next start back from the second one on that failed, longer each time", async () => {
    const { clock, provider, submit } = buildHouse();
    const { outcome } = submit();
    provider.living[0]!.crash(new KsError("FUNCTION_CRASHED"));
    for (const backoffMs of [200, 400]) {
      provider.living[0]!.crash(new KsError("FUNCTION_CRASHED"));
      await clock.advance(backoffMs - 1);
      assert.equal(provider.living.length, 0);
      await clock.advance(3);
    }
    assert.equal(provider.replicas.length, 4);
    provider.living[0]!.becomeReady();
    provider.living[0]!.answer();
    assert.equal(outcome.heads, 1);
  });

  test("code that fails to load anew is not started for each call", async () => {
    const { clock, provider, submit } = buildHouse();
    for (let i = 0; i < 20; i++) {
      submit();
      for (const replica of provider.living) replica.failToLoad(new KsError("FUNCTION_FAILED"));
      await clock.advance(10);
    }
    assert.ok(provider.replicas.length <= 2, `${provider.replicas.length} starts in 200 ms`);
  });

  test("a function that ends by itself while nobody calls it is not started in a loop", async () => {
    const { clock, provider, dispatcher } = buildHouse({ minReplicas: 1 });
    for (let i = 0; i < 100; i++) {
      for (const replica of provider.living) {
        replica.becomeReady();
        await settle();
        replica.crash(new KsError("FUNCTION_CRASHED"));
      }
      await clock.advance(100);
      dispatcher.evaluate();
    }
    assert.ok(provider.replicas.length <= 10, `${provider.replicas.length} starts in 10 s`);
  });

  test("what waits gets a replica at once when the last one takes no more calls", () => {
    const { provider, submit } = buildHouse({ concurrency: 2, maxReplicas: 1 });
    submit();
    submit();
    const { outcome } = submit();
    const first = provider.replicas[0]!;
    first.becomeReady();
    first.timeOut();
    assert.equal(provider.living.length, 2);
    provider.replicas[1]!.becomeReady();
    provider.replicas[1]!.answer();
    assert.equal(outcome.heads, 1);
  });

  test("a place that a call gives back unused goes to the next in the queue", () => {
    const { provider, submit } = buildHouse({ concurrency: 1, maxReplicas: 1 });
    const gone = submit();
    submit();
    provider.replicas[0]!.becomeReady();
    gone.call.abandon();
    provider.replicas[0]!.giveBack();
    assert.equal(gone.call.ended, true);
    assert.equal(provider.replicas[0]!.calls.length, 1);
  });

  test("a replica that wakes for a body on its way is not taken for idle meanwhile", async () => {
    const { clock, provider, submit, dispatcher } = buildHouse();
    submit();
    provider.replicas[0]!.becomeReady();
    provider.replicas[0]!.answer();
    await clock.advance(61_000);
    dispatcher.evaluate();
    assert.equal(dispatcher.replicas, 0);
    dispatcher.warm();
    await clock.advance(1000);
    dispatcher.evaluate();
    assert.equal(dispatcher.replicas, 1);
  });

  test("a new revision brings its bounds and starts nothing of the old one", () => {
    const { provider, dispatcher } = buildHouse();
    const served = buildRevision(2, 10);
    served.spec = { ...served.spec, minReplicas: 3 };
    dispatcher.serve({ revision: served, code: () => "" }, []);
    assert.deepEqual(
      provider.replicas.map(({ revision }) => revision.revision),
      [2, 2, 2],
    );
    assert.equal(dispatcher.scaling().min, 3);
  });

  test("callers that come and go leave nothing in the queue", () => {
    const queue = new CallQueue({ maxCalls: 10, maxBytes: 1000 });
    const { submit } = buildHouse();
    const [first, ...others] = Array.from({ length: 1001 }, () => submit().call);
    queue.push(first!);
    for (const call of others) {
      queue.push(call);
      queue.remove(call);
    }
    assert.ok(queue.room <= 100, `${queue.room} places for one call`);
    assert.equal(queue.shift(), first);
    assert.equal(queue.bytes, 0);
  });

  test("under any order of events each call ends once and maxReplicas holds", async () => {
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.constant("call" as const) },
      { weight: 4, arbitrary: fc.constant("answer" as const) },
      { weight: 4, arbitrary: fc.constant("ready" as const) },
      { weight: 1, arbitrary: fc.constant("crash" as const) },
      { weight: 1, arbitrary: fc.constant("busy" as const) },
      { weight: 1, arbitrary: fc.constant("time-out" as const) },
      { weight: 1, arbitrary: fc.constant("load-failure" as const) },
      { weight: 1, arbitrary: fc.constant("leave" as const) },
      { weight: 1, arbitrary: fc.constant("update" as const) },
      { weight: 2, arbitrary: fc.constant("tick" as const) },
      { weight: 1, arbitrary: fc.constant("bounds" as const) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(event, fc.nat(1000)), { maxLength: 80 }),
        fc.integer({ min: 1, max: 4 }),
        async (events, concurrency) => {
          const house = buildHouse({ concurrency, maxReplicas: 3, maxCalls: 20 });
          const { provider, dispatcher, clock } = house;
          const calls: { call: Call; outcome: Outcome }[] = [];
          let revision = 1;
          let maxReplicas = 3;
          for (const [kind, seed] of events) {
            const living = provider.living;
            const replica = living[seed % Math.max(1, living.length)];
            if (kind === "call") calls.push(house.submit());
            else if (kind === "ready") replica?.becomeReady();
            else if (kind === "answer" && replica?.readyInfo !== undefined && replica.calls.length > 0) replica.answer();
            else if (kind === "busy" && replica?.readyInfo !== undefined && replica.calls.length > 0) replica.giveBack();
            else if (kind === "time-out" && replica?.readyInfo !== undefined && replica.calls.length > 0) replica.timeOut();
            else if (kind === "load-failure" && replica?.readyInfo === undefined) replica?.failToLoad(new KsError("FUNCTION_FAILED"));
            else if (kind === "crash") replica?.crash(new KsError("FUNCTION_CRASHED"));
            else if (kind === "leave") calls[seed % Math.max(1, calls.length)]?.call.abandon();
            else if (kind === "update") house.serve(++revision);
            else if (kind === "bounds") house.setBounds({ minReplicas: 0, maxReplicas: (maxReplicas = 1 + (seed % 3)) });
            else if (kind === "tick") {
              await clock.advance(seed * 100);
              dispatcher.evaluate();
            }
            await settle();
            assert.ok(provider.accepting.length <= maxReplicas, `${provider.accepting.length} accept, ${maxReplicas} may`);
            assert.equal(dispatcher.replicas, provider.accepting.length);
            for (const each of provider.living) assert.ok(each.calls.length <= concurrency);
          }
          // Once every replica answers, nothing is left over.
          for (let round = 0; round < 200 && calls.some(({ call }) => !call.ended); round++) {
            for (const each of provider.living) {
              each.becomeReady();
              while (each.calls.length > 0) each.answer();
            }
            await clock.advance(500);
          }
          assert.equal(dispatcher.inFlight, 0);
          assert.equal(dispatcher.queued, 0);
          assert.equal(house.ended.length, calls.length);
          for (const { call, outcome } of calls) assert.ok(call.abandoned || outcome.ends === 1, "a call ended not once");
        },
      ),
      { numRuns: 300, seed: 42 },
    );
  });
});
