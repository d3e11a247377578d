import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** What `npm audit` said: of the packages, or that nobody could be asked. */
export type Verdict = { kind: "clean" } | { kind: "found"; total: number } | { kind: "not-asked"; why: string };

interface AuditReport {
  metadata?: { vulnerabilities?: { total?: number } };
  message?: string;
  error?: { summary?: string };
}

/** Only a report that counts is one: whatever else npm prints, the registry has not answered. */
export function judgeAudit(output: string): Verdict {
  const report = parseReport(output);
  const total = report.metadata?.vulnerabilities?.total;
  if (total === undefined) return { kind: "not-asked", why: report.message ?? report.error?.summary ?? "npm printed no report" };
  return total === 0 ? { kind: "clean" } : { kind: "found", total };
}

function parseReport(output: string): AuditReport {
  try {
    return (JSON.parse(output) ?? {}) as AuditReport;
  } catch {
    return {};
  }
}

function runAudit(args: readonly string[]): { stdout: string } {
  return spawnSync("npm", ["audit", ...args], {
    cwd: join(import.meta.dirname, ".."),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    timeout: 120_000,
  });
}

if (import.meta.main) {
  const verdict = judgeAudit(runAudit(["--json"]).stdout);
  if (verdict.kind === "clean") console.log("npm audit: no known vulnerability in any package");
  if (verdict.kind === "not-asked") console.log(`npm audit: NOTHING WAS CHECKED, the registry tells no advisories: ${verdict.why}`);
  if (verdict.kind === "found") {
    console.error(runAudit([]).stdout);
    console.error(`npm audit: ${verdict.total} vulnerable packages; update them, or say in SECURITY.md why they do no harm`);
    process.exitCode = 1;
  }
}
