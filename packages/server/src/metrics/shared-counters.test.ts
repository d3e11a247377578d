import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { TaskGroup } from "../task-group.ts";
import { DEFAULT_PRICES, FunctionCounters } from "./function-counters.ts";
import { SharedCounters } from "./shared-counters.ts";

const LIVE = { inFlight: 0, replicas: 0 };
const UID = "f";

/** Gateways that reach each other at once; the first of those that are there owns the function, the second follows. */
class Cluster {
  owners: string[];
  written: string | undefined;
  readonly nodes = new Map<string, { counters: SharedCounters; own: FunctionCounters; changed: () => void }>();
  readonly #handlers = new Map<string, Map<string, (params: unknown) => unknown>>();
  readonly tasks = new TaskGroup({ error: ({ err }: { err?: unknown }) => assert.fail(String(err)) });

  constructor(ids: string[]) {
    this.owners = ids;
    for (const id of ids) this.#add(id);
  }

  #add(id: string): void {
    const handlers = new Map<string, (params: unknown) => unknown>();
    this.#handlers.set(id, handlers);
    const own = new FunctionCounters();
    const listeners: (() => void)[] = [];
    const counters = new SharedCounters({
      gateways: {
        selfId: id,
        ownerOf: () => this.owners[0]!,
        successorOf: () => this.owners[1],
        onOwnersChanged: (listener) => {
          listeners.push(listener);
          return () => undefined;
        },
        request: async (to, name, params) => {
          const handler = this.#handlers.get(to)?.get(name);
          if (handler === undefined) throw new Error(`${to} is gone`);
          return handler(JSON.parse(JSON.stringify(params)));
        },
        handle: (name, handler) => void handlers.set(name, handler),
      },
      tasks: this.tasks,
      prices: DEFAULT_PRICES,
      ownOf: () => own,
      writtenOf: () => this.written,
      write: (_uid, row) => (this.written = row),
    });
    this.nodes.set(id, { counters, own, changed: () => listeners.forEach((listener) => listener()) });
  }

  count(id: string): void {
    this.nodes.get(id)!.own.record(5, 128, undefined, 1000);
    this.nodes.get(id)!.own.recordColdStart({ queueMs: 1, startMs: 2, loadMs: 3 });
  }

  async flush(id: string): Promise<void> {
    await this.nodes.get(id)!.counters.saveMetrics(new Map([[UID, new Uint8Array()]]));
  }

  async setOwners(owners: string[]): Promise<void> {
    this.owners = owners;
    for (const { changed } of this.nodes.values()) changed();
    await this.tasks.drain();
  }

  lose(id: string): void {
    this.nodes.delete(id);
    this.#handlers.delete(id);
  }

  shown(): { invocations: number; coldStarts: number } {
    const { invocations, coldStarts } = this.nodes.get(this.owners[0]!)!.counters.snapshot(UID, LIVE);
    return { invocations, coldStarts };
  }
}

test("whoever counts and however often owners change by plan, each call is counted once", async () => {
  const id = fc.constantFrom("a", "b", "c");
  const step = fc.oneof(
    fc.record({ kind: fc.constant("count" as const), id }),
    fc.record({ kind: fc.constant("flush" as const), id }),
    fc.record({ kind: fc.constant("owners" as const), owners: fc.shuffledSubarray(["a", "b", "c"], { minLength: 3 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const cluster = new Cluster(["a", "b", "c"]);
      let calls = 0;
      for (const each of steps) {
        if (each.kind === "count") {
          cluster.count(each.id);
          calls++;
        } else if (each.kind === "flush") await cluster.flush(each.id);
        else await cluster.setOwners(each.owners);
      }
      for (const each of ["a", "b", "c"]) await cluster.flush(each);
      assert.deepEqual(cluster.shown(), { invocations: calls, coldStarts: calls });
    }),
    { seed: 37, numRuns: 300 },
  );
});

test("when the owner is lost its successor knows what it had counted a second before", async () => {
  const cluster = new Cluster(["a", "b"]);
  for (let i = 0; i < 10; i++) cluster.count("a");
  await cluster.flush("a");
  cluster.written = undefined;
  cluster.count("a");
  cluster.lose("a");
  await cluster.setOwners(["b"]);
  assert.equal(cluster.shown().invocations, 10);
});

test("what was written is where a cluster that starts anew goes on", async () => {
  const before = new Cluster(["a"]);
  before.count("a");
  await before.flush("a");
  const after = new Cluster(["x", "y"]);
  after.written = before.written;
  after.count("x");
  assert.equal(after.shown().invocations, 2);
});

test("late counts wait for an owner that cannot be reached", async () => {
  const cluster = new Cluster(["a", "b"]);
  cluster.count("b");
  const { owners } = cluster;
  cluster.owners = ["gone"];
  await assert.rejects(cluster.flush("b"));
  cluster.owners = owners;
  await cluster.flush("b");
  await cluster.flush("b");
  assert.equal(cluster.shown().invocations, 1);
});
