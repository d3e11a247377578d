import { type ErrorCode, ERRORS } from "@kube-serverless/contracts";
import { GENERATED, renderTable } from "./markdown.ts";

const INTRODUCTION = `# Errors

Every error answer is JSON, also for unknown paths and malformed HTTP:

\`\`\`json
{ "error": "Function not found", "code": "FUNCTION_NOT_FOUND", "requestId": "b1f6a3c0-8a1e-4a6b-9a53-1f2b1d9c7a10" }
\`\`\`

\`error\` is for people and may change; \`code\` is for programs and stays. \`requestId\` is also the \`X-Request-Id\` header and stands in the
logs. \`details\` says more where there is more to say. A \`Retry-After\` header says when trying again makes sense.
`;

const KINDS = [
  { kind: "user", title: "What the caller can change" },
  { kind: "function", title: "What the function did" },
  { kind: "system", title: "What the platform could not do" },
] as const;

/** `docs/reference/errors.md`. */
export function renderErrorReference(): string {
  const codes = Object.keys(ERRORS) as ErrorCode[];
  const sections = KINDS.map(({ kind, title }) => {
    const rows = codes.filter((code) => ERRORS[code].kind === kind).map(buildRow);
    return `## ${title}\n\n${renderTable(["Code", "Status", "Message", "When, and what to do"], rows)}`;
  });
  return [GENERATED, INTRODUCTION, ...sections].join("\n");
}

function buildRow(code: ErrorCode): string[] {
  const { status, message, help } = ERRORS[code];
  return [`\`${code}\``, String(status), message, help];
}
