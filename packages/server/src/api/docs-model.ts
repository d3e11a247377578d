/** The parts of an OpenAPI document that the docs page reads. */
export interface OpenApiDocument {
  info: { title: string; summary: string; description: string };
  tags: readonly { name: string; description: string }[];
  paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>;
  components: { schemas: Readonly<Record<string, JsonSchema>> };
}

export interface OpenApiOperation {
  operationId: string;
  tags: readonly string[];
  summary: string;
  description?: string;
  parameters?: readonly OpenApiParameter[];
  requestBody?: { content: OpenApiContent };
  responses: Readonly<Record<string, OpenApiResponse>>;
}

export interface OpenApiParameter {
  name: string;
  in: string;
  description: string;
  required: boolean;
  schema: JsonSchema;
  example?: unknown;
}

export interface OpenApiResponse {
  description: string;
  headers?: Readonly<Record<string, { description: string }>>;
  content?: OpenApiContent;
}

export type OpenApiContent = Readonly<Record<string, { schema: JsonSchema; example?: unknown }>>;

export interface JsonSchema {
  $ref?: string;
  type?: string | readonly string[];
  const?: unknown;
  enum?: readonly unknown[];
  oneOf?: readonly JsonSchema[];
  anyOf?: readonly JsonSchema[];
  items?: JsonSchema;
  properties?: Readonly<Record<string, JsonSchema>>;
  additionalProperties?: JsonSchema | boolean;
  required?: readonly string[];
  description?: string;
  default?: unknown;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
}

/** An operation and where it stands. */
export interface PlacedOperation {
  method: string;
  path: string;
  operation: OpenApiOperation;
}

export function listOperations(document: OpenApiDocument, tag: string): PlacedOperation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
}

/** Name of a schema that is referred to; undefined for one that stands in its place. */
export function refName(schema: JsonSchema): string | undefined {
  return schema.$ref?.split("/").at(-1);
}

/** The type in words; `link` marks the name of a schema. */
export function describeType(schema: JsonSchema, link: (name: string) => string): string {
  const name = refName(schema);
  if (name !== undefined) return link(name);
  if (schema.items !== undefined) return `list of ${describeType(schema.items, link)}`;
  const alternatives = schema.oneOf ?? schema.anyOf;
  if (alternatives !== undefined) return alternatives.map((each) => describeType(each, link)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === undefined) return "any JSON";
  if (typeof schema.additionalProperties === "object") return `object of ${describeType(schema.additionalProperties, link)}`;
  const type = [schema.type].flat().join(" or ");
  return schema.format === undefined ? type : `${type} (${schema.format})`;
}

/** Bounds and default in words; empty when there are none. */
export function describeBounds(schema: JsonSchema): string {
  const parts: string[] = [];
  const { minimum, maximum, minLength, maxLength, maxItems } = schema;
  if (minimum !== undefined && maximum !== undefined) parts.push(`${minimum} to ${maximum}`);
  else if (minimum !== undefined) parts.push(`at least ${minimum}`);
  else if (maximum !== undefined) parts.push(`at most ${maximum}`);
  if (minLength !== undefined && maxLength !== undefined) parts.push(`${minLength} to ${maxLength} characters`);
  if (maxItems !== undefined) parts.push(`at most ${maxItems}`);
  if (schema.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join("; ");
}

/** A curl command that sends the operation's own example. */
export function buildCurl({ method, path, operation }: PlacedOperation, origin: string): string {
  let target = path;
  for (const parameter of operation.parameters ?? []) {
    if (parameter.in === "path")
      target = target.replace(`{${parameter.name}}`, typeof parameter.example === "string" ? parameter.example : parameter.name);
  }
  const lines = [`curl${method === "GET" ? "" : ` -X ${method}`} ${origin}${target}`];
  const example = Object.values(operation.requestBody?.content ?? {})[0]?.example;
  if (example !== undefined) {
    lines.push("  -H 'Content-Type: application/json'", `  -d '${JSON.stringify(example, null, 2).replaceAll("'", "'\\''")}'`);
  }
  return lines.join(" \\\n");
}
