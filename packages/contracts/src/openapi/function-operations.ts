import { FunctionMetrics, LogEntry } from "../call.ts";
import { FunctionSpec } from "../function.ts";
import * as examples from "./examples.ts";
import type { Operation, Parameter } from "./operation.ts";
import { CronBody, DeployedFunction, FunctionBody, FunctionSummary, InvokeResult, ScalingBody } from "./responses.ts";

const JSON_TYPE = "application/json";

const NAME: Parameter = {
  name: "name",
  in: "path",
  description: "The function's name",
  schema: { $ref: "#/components/schemas/FunctionName" },
  example: "my-function",
};

const IF_MATCH: Parameter = {
  name: "If-Match",
  in: "header",
  description: "An ETag that a read gave: the change is made only if nothing else changed the function since",
  schema: { type: "string", pattern: String.raw`^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$` },
};

const ETAG = { ETag: 'Names this generation of the function: `"<uid>-<generation>"`' };

const text = { type: "string" };

export const FUNCTION_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/api/v1/functions",
    id: "listFunctions",
    tag: "Functions",
    summary: "List functions",
    description: "All functions by name, without their code. With `limit` a part of them, and a `Link` header to the next part.",
    parameters: [
      { name: "limit", in: "query", description: "Entries of one part", schema: { type: "integer", minimum: 1, maximum: 1000 } },
      { name: "cursor", in: "query", description: "Where the part begins, as a `Link` header gave it", schema: text },
    ],
    answers: {
      200: {
        description: "The functions",
        content: { type: JSON_TYPE, schema: FunctionSummary.array(), example: [examples.SUMMARY_EXAMPLE] },
        headers: { Link: 'The next part: `<…>; rel="next"`; absent on the last' },
      },
    },
  },
  {
    method: "post",
    path: "/api/v1/functions",
    id: "createFunction",
    tag: "Functions",
    summary: "Create a function",
    description:
      "Keeps the function and answers at once; its code is then loaded once in the sandbox, and `status.state` becomes `running` or `failed`.",
    body: { required: true, type: JSON_TYPE, schema: FunctionSpec, example: examples.SPEC_EXAMPLE },
    answers: {
      201: {
        description: "Created, and deploying",
        content: { type: JSON_TYPE, schema: DeployedFunction, example: examples.DEPLOYED_EXAMPLE },
        headers: { Location: "Path of the function", ...ETAG },
      },
    },
    errors: ["INVALID_REQUEST", "FUNCTION_EXISTS", "ROUTE_CONFLICT", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "STORE_UNAVAILABLE"],
  },
  {
    method: "get",
    path: "/api/v1/functions/{name}",
    id: "getFunction",
    tag: "Functions",
    summary: "Get a function",
    parameters: [NAME],
    answers: {
      200: {
        description: "The function with its code",
        content: { type: JSON_TYPE, schema: FunctionBody, example: examples.FUNCTION_EXAMPLE },
        headers: ETAG,
      },
    },
    errors: ["FUNCTION_NOT_FOUND"],
  },
  {
    method: "put",
    path: "/api/v1/functions/{name}",
    id: "updateFunction",
    tag: "Functions",
    summary: "Update a function",
    description:
      "Replaces the whole spec: what is left out gets its default. What reading a function returned may be put back as it is; read-only fields are ignored. " +
      "The old version serves until the new one has loaded.",
    parameters: [NAME, IF_MATCH],
    body: { required: true, type: JSON_TYPE, schema: FunctionSpec, example: examples.SPEC_EXAMPLE },
    answers: {
      200: {
        description: "Updated, and deploying where something changed",
        content: { type: JSON_TYPE, schema: DeployedFunction, example: { ...examples.DEPLOYED_EXAMPLE, generation: 2, revision: 2 } },
        headers: ETAG,
      },
    },
    errors: [
      "INVALID_REQUEST",
      "FUNCTION_NOT_FOUND",
      "ROUTE_CONFLICT",
      "PRECONDITION_FAILED",
      "BODY_TOO_LARGE",
      "UNSUPPORTED_MEDIA_TYPE",
      "STORE_UNAVAILABLE",
    ],
  },
  {
    method: "delete",
    path: "/api/v1/functions/{name}",
    id: "deleteFunction",
    tag: "Functions",
    summary: "Delete a function",
    description: "New calls are refused at once; the answer comes when the calls within have ended.",
    parameters: [NAME, IF_MATCH],
    answers: { 204: { description: "Gone" } },
    errors: ["FUNCTION_NOT_FOUND", "PRECONDITION_FAILED"],
  },
  {
    method: "post",
    path: "/api/v1/functions/{name}/invoke",
    id: "invokeFunction",
    // The function has them.
    ignoresQuery: true,
    tag: "Calls",
    summary: "Invoke a function",
    description:
      "Calls the function with the body as `event.body` and answers 200 with what it returned, whatever status it chose. " +
      "A body of another type than JSON reaches the function as text, or as base64 where it is binary.",
    parameters: [NAME],
    body: { required: false, type: JSON_TYPE, schema: {}, example: { key: "value", data: [1, 2, 3] } },
    answers: {
      200: {
        description: "What the function returned",
        content: {
          type: JSON_TYPE,
          schema: InvokeResult,
          example: { statusCode: 200, body: { message: "Function executed successfully", result: "..." } },
        },
        headers: {
          "X-Function-Duration": "Time of the handler in seconds",
          "X-Cold-Start": "`true` when this call waited for a replica to be made",
          "X-Function-Revision": "Revision that answered",
          "X-Request-Id": "Names the call in logs",
          "Server-Timing": "The parts of the time: queue, start, load, handler",
        },
      },
    },
    errors: [
      "INVALID_REQUEST",
      "FUNCTION_NOT_FOUND",
      "BODY_TOO_LARGE",
      "OVERLOADED",
      "FUNCTION_ERROR",
      "FUNCTION_CRASHED",
      "FUNCTION_OUT_OF_MEMORY",
      "FUNCTION_FAILED",
      "RESPONSE_TOO_LARGE",
      "NO_CAPACITY",
      "TIMEOUT",
    ],
  },
  {
    method: "get",
    path: "/api/v1/functions/{name}/metrics",
    id: "getFunctionMetrics",
    tag: "Observing",
    summary: "Get a function's metrics",
    parameters: [NAME],
    answers: {
      200: {
        description: "Since the function was created",
        content: { type: JSON_TYPE, schema: FunctionMetrics, example: examples.METRICS_EXAMPLE },
      },
    },
    errors: ["FUNCTION_NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/functions/{name}/logs",
    id: "getFunctionLogs",
    tag: "Observing",
    summary: "Get a function's log",
    description: "Oldest first. With `follow` the same and what comes, as server-sent events with one entry in each `data`.",
    parameters: [
      NAME,
      {
        name: "tail",
        in: "query",
        description: "The newest so many",
        schema: { type: "integer", minimum: 0, maximum: 10_000, default: 100 },
      },
      {
        name: "since",
        in: "query",
        description: "A time such as 2026-01-31T12:00:00Z, or how long ago such as 10m",
        schema: {
          type: "string",
          pattern: String.raw`^(\d{1,9}[smhd]|\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))?)$`,
        },
        example: "10m",
      },
      { name: "requestId", in: "query", description: "Lines of one call", schema: text },
      { name: "follow", in: "query", description: "Stay connected", schema: { type: "boolean", default: false } },
    ],
    answers: {
      200: {
        description: "The entries",
        content: { type: JSON_TYPE, schema: LogEntry.array(), example: [examples.LOG_EXAMPLE] },
        alternatives: [{ type: "text/event-stream", schema: text, example: `data: ${JSON.stringify(examples.LOG_EXAMPLE)}\n\n` }],
      },
    },
    errors: ["FUNCTION_NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/functions/{name}/scaling",
    id: "getFunctionScaling",
    tag: "Observing",
    summary: "Get how a function is scaled, and why",
    parameters: [NAME],
    answers: {
      200: {
        description: "Replicas now, and the last decisions",
        content: { type: JSON_TYPE, schema: ScalingBody, example: examples.SCALING_EXAMPLE },
      },
    },
    errors: ["FUNCTION_NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/functions/{name}/cron",
    id: "getFunctionCron",
    tag: "Observing",
    summary: "Get when a function's cron triggers run, and what became of their runs",
    parameters: [
      NAME,
      {
        name: "limit",
        in: "query",
        description: "The newest so many runs",
        schema: { type: "integer", minimum: 1, maximum: 1000, default: 100 },
      },
    ],
    answers: {
      200: {
        description: "The triggers of the version that serves, and the last runs",
        content: { type: JSON_TYPE, schema: CronBody, example: examples.CRON_EXAMPLE },
      },
    },
    errors: ["FUNCTION_NOT_FOUND", "STORE_UNAVAILABLE"],
  },
];
