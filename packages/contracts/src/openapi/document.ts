import { z } from "zod";
import { ERRORS, type ErrorCode } from "../error.ts";
import { FUNCTION_OPERATIONS } from "./function-operations.ts";
import { KEY_OPERATIONS } from "./key-operations.ts";
import type { Answer, Content, Operation, Parameter } from "./operation.ts";
import { PLATFORM_OPERATIONS } from "./platform-operations.ts";
import { ErrorResponse } from "./responses.ts";

export const OPERATIONS: readonly Operation[] = [...FUNCTION_OPERATIONS, ...KEY_OPERATIONS, ...PLATFORM_OPERATIONS];

/** What any request may be answered, whatever it asks for. */
const COMMON_ERRORS: readonly ErrorCode[] = ["BAD_REQUEST", "UNAUTHENTICATED", "FORBIDDEN", "INTERNAL", "DRAINING"];

const TAGS = [
  { name: "Functions", description: "Deploy functions, change them, take them away." },
  {
    name: "Calls",
    description: "Call a function by the API. It also answers at `/fn/{name}`, at the paths of its HTTP triggers and by its Host name.",
  },
  { name: "Observing", description: "What a function did: metrics, log, scaling, runs by the clock." },
  { name: "Queues", description: "Messages for queue triggers." },
  {
    name: "Access",
    description: "API keys, where the server runs with `--auth`: every request then needs a key or a token as `Authorization: Bearer …`.",
  },
  { name: "Platform", description: "The server itself." },
];

/** The API as an OpenAPI 3.1 document. */
export function buildOpenApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of OPERATIONS) (paths[operation.path] ??= {})[operation.method] = buildOperation(operation);
  return {
    openapi: "3.1.0",
    info: {
      title: "Kube-Serverless",
      version: "1.0.0",
      summary: "Functions that run on one machine or on Kubernetes.",
      description:
        "Every error answer is JSON with `error`, `code`, `requestId` and perhaps `details`. HEAD is answered wherever GET is. " +
        "A query parameter that an operation does not name is refused, except by the probes of health and readiness and by calls.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    // Either, or none where the server runs without authentication.
    security: [{ bearer: [] }, { apiKey: [] }, {}],
    tags: TAGS,
    paths,
    components: {
      schemas: buildSchemas(),
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "An API key, or a token of a configured OpenID issuer" },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "An API key" },
      },
    },
  };
}

function buildOperation(operation: Operation): object {
  const { id, tag, summary, description, parameters = [], body, answers, errors = [] } = operation;
  const responses: Record<string, object> = {};
  for (const [status, answer] of Object.entries(answers)) responses[status] = buildAnswer(answer);
  for (const [status, codes] of groupByStatus([...errors, ...COMMON_ERRORS])) responses[status] = buildErrorAnswer(codes);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(operation.isOpen === true ? { security: [] } : {}),
    ...(description === undefined ? {} : { description }),
    ...(parameters.length === 0 ? {} : { parameters: parameters.map(buildParameter) }),
    ...(body === undefined ? {} : { requestBody: { required: body.required, content: buildContent([body]) } }),
    responses,
  };
}

function buildParameter(parameter: Parameter): object {
  return { ...parameter, required: parameter.in === "path" || parameter.required === true };
}

function buildAnswer({ description, content, alternatives = [], headers }: Answer): object {
  return {
    description,
    ...(headers === undefined ? {} : { headers: buildHeaders(headers) }),
    ...(content === undefined ? {} : { content: buildContent([content, ...alternatives]) }),
  };
}

function buildHeaders(headers: Readonly<Record<string, string>>): object {
  return Object.fromEntries(Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: "string" } }]));
}

function buildContent(contents: readonly Content[]): object {
  return Object.fromEntries(
    contents.map(({ type, schema, example }) => [type, { schema: refer(schema), ...(example === undefined ? {} : { example }) }]),
  );
}

/** A reference to a named schema, to a list of one, or a plain schema as it is. */
function refer(schema: z.ZodType | object): object {
  if (!(schema instanceof z.ZodType)) return schema;
  if (schema instanceof z.ZodArray) return { type: "array", items: refer(schema.element) };
  const id = schema.meta()?.id;
  if (id === undefined) throw new Error("A schema of an operation needs an id");
  return { $ref: `#/components/schemas/${id}` };
}

function groupByStatus(codes: readonly ErrorCode[]): Map<string, ErrorCode[]> {
  const groups = new Map<string, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const status = String(ERRORS[code].status);
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}

function buildErrorAnswer(codes: readonly ErrorCode[]): object {
  const examples = codes.map((code) => [
    code,
    { value: { error: ERRORS[code].message, code, requestId: "b1f6a3c0-8a1e-4a6b-9a53-1f2b1d9c7a10" } },
  ]);
  return {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].message}`).join("; "),
    content: { "application/json": { schema: refer(ErrorResponse), examples: Object.fromEntries(examples) } },
  };
}

function buildSchemas(): object {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { io: "input", uri: (id) => `#/components/schemas/${id}`, override: simplify });
  const named = Object.entries(schemas).map(([id, { $schema: _schema, $id: _id, ...schema }]) => [id, schema] as const);
  return Object.fromEntries(named.sort(([left], [right]) => left.localeCompare(right)));
}

/** Leaves out what says nothing to a reader: the pattern behind a format, the bounds of what a number can hold. */
function simplify({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}
