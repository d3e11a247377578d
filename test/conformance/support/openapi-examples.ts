import assert from "node:assert/strict";
import { z } from "zod";

type Content = Record<string, { schema: object; example?: unknown; examples?: Record<string, { value: unknown }> }>;

/** The parts of an OpenAPI document that hold examples. */
export interface DocumentWithExamples {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

interface Operation {
  parameters?: { name: string; in: string; required: boolean; schema: object; example?: unknown }[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
}

/** Every body that an operation takes or answers has examples, and each is what its schema says. @returns how many there are */
export function checkExamples(document: DocumentWithExamples): number {
  let count = 0;
  const check = (schema: object, examples: readonly unknown[], where: string): void => {
    assert.ok(examples.length > 0, `${where} has no example`);
    const read = readSchema(schema, document);
    for (const example of examples) {
      const { success, error } = read.safeParse(example);
      assert.ok(success, `${where}: ${JSON.stringify(example)} is not what the schema says: ${error?.message}`);
      count++;
    }
  };
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { parameters = [], requestBody, responses }] of Object.entries(operations)) {
      const name = `${method.toUpperCase()} ${path}`;
      for (const parameter of parameters.filter(({ required, example }) => required || example !== undefined)) {
        check(parameter.schema, [parameter.example], `${name}, parameter ${parameter.name}`);
      }
      for (const [status, { content }] of [["the request", requestBody ?? {}] as const, ...Object.entries(responses)]) {
        for (const [type, body] of Object.entries(content ?? {})) check(body.schema, examplesOf(body), `${name}, ${status}, ${type}`);
      }
    }
  }
  return count;
}

function examplesOf({ example, examples = {} }: Content[string]): unknown[] {
  const values = Object.values(examples).map(({ value }) => value);
  return example === undefined ? values : [example, ...values];
}

/** With the schemas it refers to. */
function readSchema(schema: object, { components }: DocumentWithExamples): z.ZodType {
  const whole = JSON.stringify({ ...schema, $defs: components.schemas }).replaceAll("#/components/schemas/", "#/$defs/");
  return z.fromJSONSchema(JSON.parse(whole));
}
