import { globSync } from "node:fs";
import { join } from "node:path";

/** Files that run together; the stages run one after the other, the quick ones first. */
export interface Stage {
  name: string;
  /** Relative to the root, sorted. */
  files: readonly string[];
  /** Files at once. */
  concurrency: number;
  testTimeoutMs: number;
  fileTimeoutMs: number;
  /** Its servers and tests compile Go. */
  needsGo: boolean;
}

const UNIT = "unit";

const STAGES = [
  {
    name: UNIT,
    patterns: ["packages/**/*.test.ts", "scripts/**/*.test.ts", "runtimes/**/*.test.ts", "bench/**/*.test.ts"],
    concurrency: 2,
    testTimeoutMs: 60_000,
  },
  { name: "integration", patterns: ["test/integration/**/*.test.ts"], concurrency: 2, testTimeoutMs: 120_000 },
  { name: "conformance", patterns: ["test/conformance/**/*.test.ts"], concurrency: 2, testTimeoutMs: 120_000 },
  // Whatever is left, so that no test is forgotten because of where it lies.
  { name: "examples and others", patterns: ["examples/**/*.test.ts", "test/**/*.test.ts"], concurrency: 1, testTimeoutMs: 120_000 },
];

/** Needs a whole cluster, and has a command of its own: `npm run test:cluster`. */
const CLUSTER_TESTS = "test/cluster/";

/** How long one file may take, whatever hangs in it. */
const FILE_TIMEOUT_MS = 15 * 60_000;

/** The stages with the files whose path holds one of the words; all files where there are no words. */
export function findStages(root: string, words: readonly string[]): Stage[] {
  const taken = new Set<string>();
  return STAGES.map(({ name, patterns, concurrency, testTimeoutMs }) => {
    const found = patterns.flatMap((pattern) => globSync(pattern, { cwd: root, exclude: (path) => path.endsWith("node_modules") }));
    const isWanted = (file: string): boolean => words.length === 0 || words.some((word) => file.includes(word));
    const files = found.filter((file) => !taken.has(file) && !file.startsWith(CLUSTER_TESTS) && isWanted(file)).sort();
    for (const file of found) taken.add(file);
    return { name, files, concurrency, testTimeoutMs, fileTimeoutMs: FILE_TIMEOUT_MS, needsGo: name !== UNIT };
  }).filter((stage) => stage.files.length > 0);
}

export function absolutePaths(root: string, files: readonly string[]): string[] {
  return files.map((file) => join(root, file));
}
