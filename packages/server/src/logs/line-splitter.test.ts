import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LineSplitter, MAX_LINE_BYTES } from "./line-splitter.ts";

interface Line {
  message: string;
  truncated: boolean;
}

function split(chunks: readonly Buffer[]): Line[] {
  const lines: Line[] = [];
  const splitter = new LineSplitter((message, truncated) => lines.push({ message, truncated }));
  for (const chunk of chunks) splitter.write(chunk);
  splitter.end();
  return lines;
}

function messages(...chunks: (string | Buffer)[]): string[] {
  return split(chunks.map((chunk) => Buffer.from(chunk))).map(({ message }) => message);
}

test("lines are cut at their ends, whatever the chunks", () => {
  assert.deepEqual(messages("one\ntw", "o\n", "\nfo", "ur"), ["one", "two", "", "four"]);
  assert.deepEqual(messages("windows\r\nunix\n"), ["windows", "unix"]);
  assert.deepEqual(messages(""), []);
});

test("a character that two chunks share is whole, and what is no UTF-8 is replaced", () => {
  const bytes = Buffer.from("grüße 🚀\n");
  for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(messages(bytes.subarray(0, cut), bytes.subarray(cut)), ["grüße 🚀"]);
  assert.deepEqual(messages(Buffer.from([0x61, 0xff, 0x62, 0x0a, 0xc3, 0x0a])), ["a\ufffdb", "\ufffd"]);
});

test("a line of 64 KiB is whole, one more byte is cut and said", () => {
  const full = "x".repeat(MAX_LINE_BYTES);
  assert.deepEqual(split([Buffer.from(`${full}\nnext\n`)]), [
    { message: full, truncated: false },
    { message: "next", truncated: false },
  ]);
  assert.deepEqual(split([Buffer.from(`${full}y\nnext\n`)]), [
    { message: full, truncated: true },
    { message: "next", truncated: false },
  ]);
});

test("a cut leaves no half character", () => {
  const [line] = split([Buffer.from(`${"x".repeat(MAX_LINE_BYTES - 1)}ü\n`)]);
  assert.deepEqual(line, { message: "x".repeat(MAX_LINE_BYTES - 1), truncated: true });
});

test("of a line of 10 MB only its beginning is held, and it is told as soon as it is cut", () => {
  const lines: Line[] = [];
  const splitter = new LineSplitter((message, truncated) => lines.push({ message, truncated }));
  const chunk = Buffer.alloc(100_000, "z");
  for (let i = 0; i < 100; i++) splitter.write(chunk);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]!.message.length, MAX_LINE_BYTES);
  splitter.write(Buffer.from("\nafter\n"));
  assert.deepEqual(lines.slice(1), [{ message: "after", truncated: false }]);
});

test("agrees with splitting the whole, however it is cut into chunks", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.constantFrom("a", "\n", "ü", "🚀", " ") })), (chunks) => {
      const whole = chunks.join("");
      const expected = whole.split("\n");
      if (expected.at(-1) === "") expected.pop();
      const bytes = Buffer.from(whole);
      const cut = Math.floor(bytes.length / 3);
      assert.deepEqual(messages(...chunks), expected);
      assert.deepEqual(messages(bytes.subarray(0, cut), bytes.subarray(cut)), expected);
    }),
  );
});
