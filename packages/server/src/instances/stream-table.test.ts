import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StreamTable } from "./stream-table.ts";

/** Streams close to each other and far apart, so that they meet in the same places. */
const streams = fc.oneof(
  fc.integer({ min: 1, max: 200 }),
  fc.integer({ min: 1, max: 12 }).map((n) => n * 64),
  fc.integer({ min: 1, max: 2 ** 32 - 1 }),
);

test("holds what a Map would, whatever comes and goes", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(streams, fc.boolean()), { maxLength: 400 }), (steps) => {
      const table = new StreamTable<string>();
      const model = new Map<number, string>();
      for (const [stream, adds] of steps) {
        if (!adds) assert.equal(table.delete(stream), model.delete(stream));
        else if (!model.has(stream)) {
          table.add(stream, `call ${stream}`);
          model.set(stream, `call ${stream}`);
        }
        assert.equal(table.get(stream), model.get(stream));
        assert.equal(table.size, model.size);
      }
      for (const [stream, value] of model) assert.equal(table.get(stream), value);
      assert.deepEqual(
        table.list(),
        [...model].sort(([a], [b]) => a - b).map(([, value]) => value),
      );
      table.clear();
      assert.deepEqual([table.size, table.list(), table.get(1)], [0, [], undefined]);
    }),
    { seed: 19, numRuns: 500 },
  );
});
