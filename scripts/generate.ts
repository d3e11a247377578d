import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { buildCustomResourceDefinitions, buildOpenApiDocument } from "@kube-serverless/contracts";
import { renderApiReference } from "./reference/api-reference.ts";
import { renderConfigurationReference } from "./reference/configuration-reference.ts";
import { renderErrorReference } from "./reference/error-reference.ts";
import { renderRoleReference } from "./reference/role-reference.ts";
import { renderYaml } from "./reference/yaml.ts";

const root = join(import.meta.dirname, "..");

/** Every file that is written from the source, so that it cannot say anything else. */
export function renderGenerated(): Map<string, string> {
  const openApi = buildOpenApiDocument();
  return new Map([
    [join(root, "generated/openapi.json"), `${JSON.stringify(openApi, null, 2)}\n`],
    [join(root, "docs/reference/api.md"), renderApiReference(openApi)],
    [join(root, "docs/reference/configuration.md"), renderConfigurationReference()],
    [join(root, "docs/reference/errors.md"), renderErrorReference()],
    [join(root, "docs/reference/roles.md"), renderRoleReference()],
    ...renderCustomResourceDefinitions(),
  ]);
}

/** For kubectl, and for the chart: Helm would remove them with the release, and every function with them. */
function renderCustomResourceDefinitions(): [path: string, content: string][] {
  return [...buildCustomResourceDefinitions()].flatMap(([file, definition]) => {
    const kept = { ...definition, metadata: { ...definition.metadata, annotations: { "helm.sh/resource-policy": "keep" } } };
    return [
      [join(root, "generated/crds", file), renderYaml(definition)],
      [join(root, "deploy/helm/kube-serverless/files/crds", file), renderYaml(kept)],
    ];
  });
}

/** Paths of the files that differ from what the source gives. */
export function findDrift(): string[] {
  return [...renderGenerated()].filter(([path, content]) => readOrEmpty(path) !== content).map(([path]) => relative(root, path));
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function main(): void {
  const drift = findDrift();
  if (process.argv.includes("--check")) {
    for (const path of drift) console.error(`${path} is not what the source gives: npm run generate`);
    process.exitCode = drift.length > 0 ? 1 : 0;
    return;
  }
  for (const [path, content] of renderGenerated()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  console.log(drift.length > 0 ? `written: ${drift.join(", ")}` : "nothing changed");
}

if (import.meta.main) main();
