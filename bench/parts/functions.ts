import { HANDLER_CODE } from "../variants/variant.ts";
import type { Deployment } from "../variants/bench-server.ts";

/** The documented runtimes. */
export const RUNTIMES = ["nodejs18", "python39", "go119"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

export const BODY = '{"key":"value","data":[1,2,3]}';

const PYTHON_CODE = `def handler(event, context):
    return {"statusCode": 200, "body": {"echo": event["body"], "msg": "hello"}}
`;

const GO_CODE = `package main

type Event struct {
	Body any \`json:"body"\`
}

type Response struct {
	StatusCode int            \`json:"statusCode"\`
	Body       map[string]any \`json:"body"\`
}

func Handler(event Event) (Response, error) {
	return Response{200, map[string]any{"echo": event.Body, "msg": "hello"}}, nil
}
`;

const SOURCES: Record<RuntimeName, { handler: string; code: string; comment: string; prefix: string }> = {
  nodejs18: { handler: "index.handler", code: HANDLER_CODE, comment: "//", prefix: "node" },
  python39: { handler: "handler.handler", code: PYTHON_CODE, comment: "#", prefix: "python" },
  go119: { handler: "Handler", code: GO_CODE, comment: "//", prefix: "go" },
};

/** A function that answers what it was sent; no two labels have the same code. */
export function buildFunction(runtime: RuntimeName, label: string): Deployment {
  const { handler, code, comment, prefix } = SOURCES[runtime];
  return { name: `${prefix}-${label}`, runtime, handler, code: `${code}${comment} ${label}\n` };
}
