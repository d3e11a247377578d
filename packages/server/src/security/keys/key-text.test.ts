import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { createKeyText, hashKey, KEY_PREFIX, parseKeyId } from "./key-text.ts";

test("a key is recognised by what a scanner of leaks looks for", () => {
  for (let i = 0; i < 200; i++) {
    const { id, text } = createKeyText();
    assert.match(text, /^ksk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/);
    assert.equal(parseKeyId(text), id);
    assert.ok(text.startsWith(KEY_PREFIX));
  }
});

test("a key that is mistyped anywhere is none", () => {
  const { text } = createKeyText();
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom("0", "a", "Z", "z", "_", " "), (at, letter) => {
      const typed = text.slice(0, at) + letter + text.slice(at + 1);
      assert.equal(parseKeyId(typed) === undefined, typed !== text);
    }),
  );
  for (const wrong of ["", KEY_PREFIX, text.slice(1), `${text} `, `${text}\n`, text.toLowerCase(), text + text])
    assert.equal(parseKeyId(wrong), undefined);
});

test("whatever is given instead of a key does not break the parser", () => {
  fc.assert(fc.property(fc.string({ maxLength: 200, unit: "binary" }), (text) => assert.equal(parseKeyId(text), undefined)));
});

test("a rotated key keeps its id and shares no secret; its hash tells nothing of it", () => {
  const first = createKeyText();
  const second = createKeyText(first.id);
  assert.equal(parseKeyId(second.text), first.id);
  assert.notEqual(second.text, first.text);
  assert.equal(hashKey(first.text).length, 32);
  assert.notDeepEqual(hashKey(first.text), hashKey(second.text));
});
