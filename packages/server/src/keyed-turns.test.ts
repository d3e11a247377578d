import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyedTurns } from "./keyed-turns.ts";

test("work of one key waits for its turn, also behind a failure; work of another does not", async () => {
  const turns = new KeyedTurns();
  const told: string[] = [];
  const work =
    (name: string, fails = false) =>
    async () => {
      told.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      told.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    };
  const first = turns.run("a", work("first", true));
  const second = turns.run("a", work("second"));
  const other = turns.run("b", work("other"));
  await assert.rejects(first, /first/);
  assert.deepEqual([await second, await other], ["second", "other"]);
  assert.ok(told.indexOf("second begins") > told.indexOf("first ends"));
  assert.ok(told.indexOf("other begins") < told.indexOf("first ends"));
});
