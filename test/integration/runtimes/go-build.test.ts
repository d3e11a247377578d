import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { GOS, type Go, useGoShims } from "./gos.ts";
import type { Json } from "./support.ts";

const BROKEN = [
  { code: "package main\n\nfunc Handler( {\n}\n", reason: "SyntaxError", says: /^SyntaxError: handler\.go:3:15: syntax error/ },
  { code: "// a comment\n\npackage main\nvar x = `open", reason: "SyntaxError", says: /handler\.go:4:9: string not terminated/ },
  { code: "func Handler() {}\n", reason: "SyntaxError", says: /handler\.go:1:1: syntax error: package statement must be first/ },
  {
    code: "package main; func Handler() { x := 1 }\n",
    reason: "CompileError",
    says: /^CompileError: handler\.go:1:32: .*declared (and|but) not used/,
  },
  {
    code: 'package main\nimport "fmt"\nfunc Handler() {}\n',
    reason: "CompileError",
    says: /handler\.go:2:8: .*imported and not used/,
  },
  { code: "package main\nfunc handler() {}\n", reason: "HandlerNotFound", says: /^HandlerNotFound: there is no function Handler/ },
  { code: "package main\ntype Handler struct{}\n", reason: "HandlerNotFound", says: /not an expression|is not a function/ },
  {
    code: 'package main\n\nimport "github.com/a/b"\nfunc Handler() { b.C() }\n',
    reason: "ModuleNotFound",
    says: /^ModuleNotFound: handler\.go:3:8: package github\.com\/a\/b /,
  },
  { code: 'package main\nimport "internal/abi"\nfunc Handler() {}\n', reason: "ModuleNotFound", says: /internal\/abi/ },
  { code: 'package main\nimport "kubeserverless/shim"\nfunc Handler() {}\n', reason: "ModuleNotFound", says: /kubeserverless/ },
  {
    code: 'package main\n/*\n#include <stdio.h>\n*/\nimport "C"\nfunc Handler() {}\n',
    reason: "CompileError",
    says: /handler\.go:5:8: import "C": cgo is not available/,
  },
  {
    code: '//line /x/_cgo_x.go:1:1\npackage main\n//go:cgo_ldflag "-L/etc"\nfunc Handler() {}\n',
    reason: "CompileError",
    says: /cgo is not available/,
  },
  {
    code: 'package main\nimport _ "embed"\n//go:embed ../../../etc/passwd\nvar secret string\nfunc Handler() any { return secret }\n',
    reason: "CompileError",
    says: /handler\.go:3:\d+: .*go:embed.*nothing to embed/,
  },
  {
    code: 'package main\nimport _ "unsafe"\n//go:linkname there not.there\nfunc there()\nfunc Handler() { there() }\n',
    reason: "CompileError",
    says: /not\.there|missing function body|linkname/,
  },
];

for (const go of GOS) {
  describe(go.name, { skip: go.missing ?? false }, () => {
    describeFailures(go);
  });
}

function describeFailures(go: Go): void {
  for (const { code, reason, says } of BROKEN) {
    test(`explains ${JSON.stringify(code).slice(0, 80)}`, async () => {
      await assert.rejects(go.build(code), (error: { code: string; message: string; details: Json }) => {
        assert.equal(error.code, "FUNCTION_FAILED");
        assert.match(error.message, says);
        assert.deepEqual(error.details, { reason, message: error.message });
        return true;
      });
    });
  }

  const load = useGoShims(go);
  test("a panic is an error with type, message and the function's own stack", async () => {
    const shim = await load(
      "type Shop struct{}\n\nfunc (s *Shop) find(list []int, i int) int { return list[i] }\n\nfunc Handler(event map[string]any) any {\n  return (&Shop{}).find([]int{1}, 5)\n}",
    );
    const { error } = await shim.call();
    assert.equal(error?.["code"], "FUNCTION_ERROR");
    assert.equal(error?.["type"], "runtime.boundsError");
    assert.equal(error?.["message"], "runtime error: index out of range [5] with length 1");
    assert.match(String(error?.["stack"]), /^at function\.\(\*Shop\)\.find \(handler\.go:4\)\nat function\.Handler \(handler\.go:7\)$/);
    assert.equal((await shim.call()).error?.["type"], "runtime.boundsError");
  });

  test("a value that panics, an ended goroutine and a panic while JSON is written are errors too", async () => {
    const shim = await load(`
      import "runtime"
      type Bad struct{}
      func (Bad) MarshalJSON() ([]byte, error) { panic("while writing") }
      func Handler(event map[string]any) any {
        switch event["body"] {
        case 1.0: panic(map[string]int{"a": 1})
        case 2.0: runtime.Goexit()
        }
        return Bad{}
      }`);
    assert.equal((await shim.call("1")).error?.["message"], "map[a:1]");
    assert.equal((await shim.call("2")).error?.["type"], "Goexit");
    assert.equal((await shim.call("3")).error?.["message"], "while writing");
  });

  test("a panic in another goroutine ends the process, its words on descriptor 2", async () => {
    const shim = await load('func Handler() any { go func() { panic("elsewhere") }(); select {} }');
    shim.sendCall();
    assert.equal((await shim.exited).code, 2);
    assert.match(shim.printed, /panic: elsewhere/);
  });

  test("a panic while the package is initialised ends the process before READY", async (t) => {
    const shim = await go.start('package main\nvar x = func() int { panic("no luck") }()\nfunc Handler() int { return x }');
    t.after(() => shim.stop());
    await shim.hello();
    shim.sendSpecialise({ code: "", handler: "Handler" });
    assert.equal((await shim.exited).code, 2);
    assert.match(shim.printed, /panic: no luck/);
    assert.deepEqual(
      shim.frames.map(({ kind }) => kind),
      [FrameType.HELLO],
    );
  });
}
