import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGoHandler, parseGoHeader, rewriteGoSource } from "./go-source.ts";

const headers = [
  { code: "package main\n", name: "main", imports: [] },
  { code: "// +build x\n/* a\n b */ package\tmain // the end\nfunc main() {}", name: "main", imports: [] },
  { code: "package größe;import `a/b`", name: "größe", imports: ["a/b@1:24"] },
  {
    code: 'package x\n\nimport "fmt"\nimport (\n\t. "os"\n\tj "encoding/json"; _ "embed"\n\t// "no"\n)\nvar s = "import"\n',
    name: "x",
    imports: ["fmt@3:8", "os@5:4", "encoding/json@6:4", "embed@6:23"],
  },
  { code: 'package x\nimport ()\nimport "a"', name: "x", imports: ["a@3:8"] },
  { code: 'package x\nimport "a', name: "x", imports: [] },
  { code: "func Handler() {}", name: undefined, imports: [] },
  { code: "package", name: undefined, imports: [] },
  { code: "", name: undefined, imports: [] },
];

for (const { code, name, imports } of headers) {
  test(`reads the head of ${JSON.stringify(code.slice(0, 40))}`, () => {
    const header = parseGoHeader(code);
    const found = header.packageName && code.slice(header.packageName.start, header.packageName.end);
    assert.equal(found, name);
    assert.deepEqual(
      header.imports.map(({ path, line, column }) => `${path}@${line}:${column}`),
      imports,
    );
  });
}

test("keeps lines and columns when it renames the package", () => {
  const code = "// é\n/* ü */ package main; var x = 1\n";
  assert.equal(
    rewriteGoSource(code, parseGoHeader(code)),
    "/*line handler.go:1:1*/// é\n/* ü */ package function/*line handler.go:2:22*/; var x = 1\n",
  );
});

const handlers = [
  ["Handler", "Handler"],
  ["main.Handler", "Handler"],
  ["handler", "handler"],
  ["a/b.C_1", "C_1"],
  ["my-handler", undefined],
  ["func", undefined],
  ["_", undefined],
  ["1a", undefined],
  ["", undefined],
] as const;

for (const [handler, name] of handlers) {
  test(`the handler ${JSON.stringify(handler)} is ${name ?? "no function"}`, () => assert.equal(parseGoHandler(handler), name));
}
