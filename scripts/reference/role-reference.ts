import { ACCESS, type Resource, type Role, ROLES, type Verb, VERBS } from "@kube-serverless/contracts";
import { GENERATED, renderTable } from "./markdown.ts";

const INTRODUCTION = `# Roles

With \`--auth\` every caller has a role over some functions: by its [API key](../how-to/api-keys.md), by the claims of its
[token](../how-to/openid-connect.md), or in a cluster by RBAC. This table decides; code, tests and this page are made from it. A letter for
each verb that a role may use: ${VERBS.map((verb) => `**${verb[0]}** ${verb}`).join(", ")}. *Create* is also what calls a function and publishes a message.
`;

const SCOPES = {
  function: "of the functions that the grant's patterns cover",
  platform: "only where the grant is for all functions (`*`)",
  shared: "whatever the patterns",
} as const;

const NOTES = `
What a caller may not see is not listed and answers as if it were not there: 404, word for word. Who sent no key is told 401 whatever is
there. Open to all: \`/health\`, the bare \`/ready\`, \`/docs\`, \`/openapi.json\`, and functions and paths with \`auth: none\`.
`;

/** `docs/reference/roles.md`. */
export function renderRoleReference(): string {
  const rows = (Object.keys(ACCESS) as Resource[]).map((resource) => [
    `\`${resource}\``,
    ...ROLES.map((role) => verbsOf(resource, role)),
    SCOPES[ACCESS[resource].scope],
    ACCESS[resource].help,
  ]);
  return [GENERATED, INTRODUCTION, renderTable(["Resource", ...ROLES, "Where", "What it is"], rows), NOTES.trimStart()].join("\n");
}

function verbsOf(resource: Resource, role: Role): string {
  const verbs: Partial<Record<Verb, readonly Role[]>> = ACCESS[resource].verbs;
  return VERBS.filter((verb) => verbs[verb]?.includes(role))
    .map((verb) => verb[0])
    .join(" ");
}
