import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectFolder } from "../../support/server.ts";

/** A request, and the event that a handler gets of it or the error that the caller gets. */
export interface EventVector {
  name: string;
  call: {
    meta: {
      id: string;
      method: string;
      path: string;
      query: Record<string, string>;
      headers: Record<string, string>;
      trigger: { type: string };
    };
    bodyBase64: string;
  };
  expectedEvent?: Record<string, unknown>;
  expectedError?: { code: string; message: string };
}

/** A value that a handler returns, and the response that becomes of it. */
export interface ResponseVector {
  name: string;
  returns: { value?: unknown; source?: Record<string, string> };
  expected: {
    status?: number;
    kind?: "json" | "text" | "binary" | "none";
    headers?: string[];
    json?: unknown;
    bodyText?: string;
    bodyBase64?: string;
    error?: { code: string; message?: string; messageIncludes?: string };
  };
}

interface Vectors {
  handlers: Record<"echo" | "identity", Record<string, string>>;
  events: EventVector[];
  responses: ResponseVector[];
}

/** What is normative for all languages. */
export const VECTORS = JSON.parse(readFileSync(join(projectFolder, "runtimes/vectors/events.json"), "utf8")) as Vectors;

/** The documented runtimes. */
export const RUNTIMES = ["nodejs18", "python39", "go119"] as const;

/** The vectors' own handler in the language of a runtime. */
export function handlerCode(handler: "echo" | "identity", runtime: string): string {
  const code = VECTORS.handlers[handler][/^[a-z]+/.exec(runtime)?.[0] ?? ""];
  if (code === undefined) throw new Error(`no ${handler} for ${runtime}`);
  return code;
}
