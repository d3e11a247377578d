import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { splitGroups } from "./split-groups.ts";

test("groups keep every request, in order, and stay within the bound unless one alone is larger", () => {
  const item = fc.nat({ max: 300 }).map((length) => ({ args: { message: { body: new Uint8Array(length) } } }));
  fc.assert(
    fc.property(fc.array(item), fc.integer({ min: 1, max: 400 }), (items, maxBytes) => {
      const groups = splitGroups(items, maxBytes);
      assert.deepEqual(groups.flat(), items);
      for (const group of groups) {
        const bytes = group.reduce((sum, { args }) => sum + args.message.body.length, 0);
        assert.ok(group.length === 1 || bytes <= maxBytes);
      }
    }),
  );
});

test("texts and buffers count, wherever they stand", () => {
  const text = "x".repeat(60);
  const items = [{ args: text }, { args: [{ uid: text }] }, { args: { code: text } }, { args: undefined }];
  assert.deepEqual(splitGroups(items, 100).length, 3);
});
