import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

interface Referenced {
  "bom-ref"?: string;
  ref?: string;
}

/** What is used of npm's bill of materials. */
export interface Bom {
  serialNumber?: string;
  metadata: { timestamp?: string; tools?: unknown; component: Referenced & { name: string } };
  components: (Referenced & { name: string; version: string; licenses?: { license: { id?: string } }[]; hashes?: unknown[] })[];
  dependencies: (Referenced & { dependsOn: string[] })[];
}

interface Manifest {
  name: string;
  devDependencies?: Record<string, string>;
}

/** The production dependencies as CycloneDX: the same lock file gives the same text, wherever and whenever it is written. */
export function writeSbom(): string {
  const command = ["sbom", "--package-lock-only", "--sbom-format", "cyclonedx"];
  const bom = JSON.parse(execFileSync("npm", command, { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })) as Bom;
  const manifests = ["package.json", ...globSync("packages/*/package.json", { cwd: root })].map(
    (file) => JSON.parse(readFileSync(join(root, file), "utf8")) as Manifest,
  );
  return `${JSON.stringify(makeReproducible(keepProduction(bom, manifests), manifests[0]!.name), null, 2)}\n`;
}

/** npm's own `--omit dev` leaves out what production shares with tools: this goes along every edge but those to tools. */
function keepProduction(bom: Bom, manifests: readonly Manifest[]): Bom {
  const toolsOf = new Map(manifests.map(({ name, devDependencies = {} }) => [name, new Set(Object.keys(devDependencies))]));
  const edges = new Map(
    bom.dependencies.map(({ ref = "", dependsOn }) => [
      ref,
      dependsOn.filter((to) => toolsOf.get(withoutVersion(ref))?.has(withoutVersion(to)) !== true),
    ]),
  );
  const kept = new Set([bom.metadata.component["bom-ref"] ?? ""]);
  for (const reference of kept) for (const next of edges.get(reference) ?? []) kept.add(next);
  return {
    ...bom,
    components: bom.components.filter((each) => kept.has(each["bom-ref"] ?? "")),
    dependencies: [...edges].filter(([ref]) => kept.has(ref)).map(([ref, dependsOn]) => ({ ref, dependsOn })),
  };
}

/** Without what differs from run to run: time, random number, npm's version, the folder's name, the order. */
function makeReproducible(bom: Bom, name: string): Bom {
  const { timestamp: _timestamp, tools: _tools, ...metadata } = bom.metadata;
  const { serialNumber: _serialNumber, ...rest } = bom;
  const sorted = {
    ...rest,
    metadata: { ...metadata, component: { ...metadata.component, name } },
    // npm calls a workspace by its folder, and a package by its alias.
    components: bom.components.map((each) => ({ ...each, name: withoutVersion(each["bom-ref"] ?? "") })).toSorted(byReference),
    dependencies: bom.dependencies.map((each) => ({ ...each, dependsOn: each.dependsOn.toSorted() })).toSorted(byReference),
  };
  return { ...sorted, serialNumber: `urn:uuid:${uuidOf(JSON.stringify(sorted))}` };
}

function withoutVersion(reference: string): string {
  return reference.slice(0, reference.lastIndexOf("@"));
}

function byReference(a: Referenced, b: Referenced): number {
  const [left, right] = [a["bom-ref"] ?? a.ref ?? "", b["bom-ref"] ?? b.ref ?? ""];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** A UUID of version 8 (RFC 9562), made from the content. */
function uuidOf(content: string): string {
  const hex = createHash("sha256").update(content).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
}

if (import.meta.main) process.stdout.write(writeSbom());
