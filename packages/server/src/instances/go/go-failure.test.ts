import assert from "node:assert/strict";
import { test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import { checkGoImports, explainCompilerOutput } from "./go-failure.ts";
import { parseGoHeader } from "./go-source.ts";

const outputs = [
  {
    output: "handler.go:3:1: syntax error: unexpected }\nhandler.go:4:2: invalid character U+0040 '@'\n",
    reason: "SyntaxError",
    message: "SyntaxError: handler.go:3:1: syntax error: unexpected }\nhandler.go:4:2: invalid character U+0040 '@'",
  },
  {
    output: "handler.go:3:1: string literal not terminated\n",
    reason: "SyntaxError",
    message: "SyntaxError: handler.go:3:1: string literal not terminated",
  },
  {
    output: "handler.go:2:1: x declared but not used\nkubeserverless_handler.go:4:43: undefined: Handler\n",
    reason: "CompileError",
    message: "CompileError: handler.go:2:1: x declared but not used",
  },
  {
    output: "kubeserverless_handler.go:4:43: undefined: Handler\n",
    reason: "HandlerNotFound",
    message: "HandlerNotFound: there is no function Handler in the code; declare func Handler or name another handler",
  },
  {
    output: "kubeserverless_handler.go:4:43: Handler (type) is not an expression\n",
    reason: "HandlerNotFound",
    message: "HandlerNotFound: Handler is not a function that can be a handler: Handler (type) is not an expression",
  },
];

for (const { output, reason, message } of outputs) {
  test(`explains ${JSON.stringify(output.slice(0, 50))}`, () => {
    const error = explainCompilerOutput(output, "Handler");
    assert.equal(error.code, "FUNCTION_FAILED");
    assert.deepEqual(error.details, { reason, message });
    assert.equal(error.message, message);
  });
}

test("a megabyte of errors is cut", () => {
  const { message } = explainCompilerOutput("handler.go:1:1: bad\n".repeat(50_000), "Handler");
  assert(message.length <= 16_000);
});

const imports = [
  { code: 'package a\nimport "C"', reason: "CompileError", says: 'handler.go:2:8: import "C": cgo' },
  { code: 'package a\nimport x "github.com/a/b"', reason: "ModuleNotFound", says: "handler.go:2:10: package github.com/a/b " },
  { code: 'package a\nimport "internal/abi"', reason: "ModuleNotFound", says: "internal/abi" },
  { code: 'package a\nimport "../x"', reason: "ModuleNotFound", says: "../x" },
];

for (const { code, reason, says } of imports) {
  test(`refuses ${code.split("\n")[1]}`, () => {
    assert.throws(
      () => checkGoImports(parseGoHeader(code), new Set(["fmt"])),
      (error: KsError) => (error.details as { reason: string }).reason === reason && error.message.includes(says),
    );
  });
}

test("takes what there is", () => checkGoImports(parseGoHeader('package a\nimport ("fmt"; "unsafe")'), new Set(["fmt"])));
