import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../clock.ts";
import type { StoredFunction } from "../store/port.ts";
import { PathHolds } from "./path-holds.ts";
import { FunctionEntry, FunctionRegistry } from "./registry.ts";

function trigger(path: string, methods?: string[]) {
  return { type: "http", config: { path, ...(methods === undefined ? {} : { methods }) } } as StoredFunction["spec"]["triggers"][number];
}

function setUp() {
  const clock = new ManualClock();
  const registry = new FunctionRegistry();
  const holds = new PathHolds(clock, registry);
  const begin = (id: string, name: string, path: string, methods?: string[]): void =>
    holds.begin({ id, uid: name, name, triggers: [trigger(path, methods)] });
  const learn = (uid: string, generation: number, path: string): FunctionEntry => {
    const stored = { uid, generation, spec: { name: uid, triggers: [trigger(path)] } } as unknown as StoredFunction;
    const entry = new FunctionEntry(stored, {
      createDispatcher: () => {
        throw new Error("nobody calls");
      },
    });
    registry.add(entry);
    return entry;
  };
  return { clock, registry, holds, begin, learn };
}

const TAKEN = { code: "ROUTE_CONFLICT" };

test("of two that want one path at once the second is refused, by whatever name its parameters go", () => {
  const { begin } = setUp();
  begin("1", "a", "/items/:id", ["GET"]);
  assert.throws(() => begin("2", "b", "/items/:key"), { ...TAKEN, details: { path: "/items/:key", function: "a", takenBy: "/items/:id" } });
  begin("3", "b", "/items/:key", ["POST"]);
  begin("4", "c", "/items/all");
});

test("a path is free again when its write has failed", () => {
  const { holds, begin } = setUp();
  begin("1", "a", "/one");
  holds.end({ id: "1" });
  begin("2", "b", "/one");
});

test("one name asked for twice at once is the store's to decide", () => {
  const { begin } = setUp();
  begin("1", "a", "/one");
  begin("2", "a", "/one");
  assert.throws(() => begin("3", "b", "/one"), TAKEN);
});

test("what was written stays held until the function is known with it, and the function itself may go on", () => {
  const { registry, holds, begin, learn } = setUp();
  const entry = learn("uid-a", 1, "/old");
  const update = (id: string): void => holds.begin({ id, uid: "uid-a", name: "uid-a", triggers: [trigger("/new")] });
  update("1");
  holds.end({ id: "1", written: { uid: "uid-a", name: "uid-a", generation: 2 } });
  assert.throws(() => begin("2", "b", "/new"), TAKEN);
  update("3");
  holds.end({ id: "3" });
  entry.stored = { ...entry.stored, generation: 2, spec: { ...entry.stored.spec, triggers: [trigger("/new")] } };
  registry.syncRoutes(entry);
  assert.throws(() => begin("4", "b", "/new"), TAKEN, "the registry has it now");
  begin("5", "b", "/old");
  assert.equal(holds.size, 1);
});

test("a function that is gone again holds nothing", () => {
  const { registry, holds, begin, learn } = setUp();
  const entry = learn("uid-a", 1, "/old");
  holds.begin({ id: "1", uid: "uid-a", name: "uid-a", triggers: [trigger("/new")] });
  holds.end({ id: "1", written: { uid: "uid-a", name: "uid-a", generation: 2 } });
  registry.remove(entry);
  begin("2", "b", "/new");
});

test("whoever asked and is never heard of again gives way after a time", async () => {
  const { clock, begin } = setUp();
  begin("1", "a", "/one");
  await clock.advance(29_000);
  assert.throws(() => begin("2", "b", "/one"), TAKEN);
  await clock.advance(1000);
  begin("3", "b", "/one");
});
