import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTraceparent, parseTraceparent } from "./traceparent.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

const cases: { header: string | undefined; expected: ReturnType<typeof parseTraceparent>; why: string }[] = [
  { header: `00-${TRACE}-${SPAN}-01`, expected: { traceId: TRACE, spanId: SPAN, sampled: true }, why: "sampled" },
  { header: `00-${TRACE}-${SPAN}-00`, expected: { traceId: TRACE, spanId: SPAN, sampled: false }, why: "not sampled" },
  { header: `00-${TRACE}-${SPAN}-03`, expected: { traceId: TRACE, spanId: SPAN, sampled: true }, why: "flags to come" },
  { header: `cc-${TRACE}-${SPAN}-01-what-comes`, expected: { traceId: TRACE, spanId: SPAN, sampled: true }, why: "a later version" },
  { header: `00-${TRACE}-${SPAN}-01-more`, expected: undefined, why: "too long for this version" },
  { header: `cc-${TRACE}-${SPAN}-01x`, expected: undefined, why: "no dash" },
  { header: `ff-${TRACE}-${SPAN}-01`, expected: undefined, why: "forbidden version" },
  { header: `00-${"0".repeat(32)}-${SPAN}-01`, expected: undefined, why: "no trace" },
  { header: `00-${TRACE}-${"0".repeat(16)}-01`, expected: undefined, why: "no span" },
  { header: `00-${TRACE.toUpperCase()}-${SPAN}-01`, expected: undefined, why: "upper case" },
  { header: "", expected: undefined, why: "empty" },
  { header: undefined, expected: undefined, why: "absent" },
];

for (const { header, expected, why } of cases) {
  test(`traceparent ${header}: ${why}`, () => assert.deepEqual(parseTraceparent(header), expected));
}

test("what is written is read", () => {
  const hex = (length: number) => fc.string({ unit: fc.constantFrom("1", "2", "9", "a", "f"), minLength: length, maxLength: length });
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
      assert.deepEqual(parseTraceparent(formatTraceparent({ traceId, spanId, sampled })), { traceId, spanId, sampled });
    }),
  );
});
