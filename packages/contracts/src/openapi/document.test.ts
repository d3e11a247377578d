import assert from "node:assert/strict";
import { test } from "node:test";
import { ERRORS } from "../error.ts";
import { z } from "zod";
import { buildOpenApiDocument, OPERATIONS } from "./document.ts";

const document = buildOpenApiDocument() as {
  components: { schemas: Record<string, unknown> };
  paths: Record<
    string,
    Record<string, { operationId: string; parameters?: { name: string; in: string }[]; responses: Record<string, unknown> }>
  >;
};

test("every reference in the document leads to a schema", () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1] ?? "");
  assert.ok(references.length > 20);
  for (const name of references) assert.ok(name in document.components.schemas, name);
});

test("operations have ids of their own and name the parameters of their path", () => {
  const ids = OPERATIONS.map((operation) => operation.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { path, parameters = [] } of OPERATIONS) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    assert.deepEqual(
      parameters.filter((parameter) => parameter.in === "path").map((parameter) => parameter.name),
      inPath,
    );
  }
});

test("every example is what its schema says", () => {
  let checked = 0;
  for (const { id, body, answers } of OPERATIONS) {
    const contents = [body, ...Object.values(answers).flatMap((answer) => [answer.content])];
    for (const content of contents) {
      if (content === undefined || !(content.schema instanceof z.ZodType)) continue;
      assert.notEqual(content.example, undefined, id);
      const result = content.schema.safeParse(content.example);
      assert.ok(result.success, `${id}: ${result.error?.message}`);
      checked++;
    }
  }
  assert.ok(checked > 12);
});

test("what an operation may answer is in the catalogue, under its status", () => {
  for (const { path, method, errors = [] } of OPERATIONS) {
    const { responses } = document.paths[path]![method]!;
    for (const code of errors) assert.match(JSON.stringify(responses[ERRORS[code].status]), new RegExp(code));
  }
});
