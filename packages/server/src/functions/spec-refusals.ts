import { KsError, type RuntimeInfo } from "@kube-serverless/contracts";
import type { Route, RouteTable } from "./route-table.ts";

export interface KnownRuntimes {
  runtimes(): readonly RuntimeInfo[];
  installHint(runtime: string): string;
}

/** @throws KsError `INVALID_REQUEST` where functions cannot run on that runtime here */
export function checkRuntime(runtime: string, { runtimes, installHint }: KnownRuntimes): void {
  const known = runtimes();
  const info = known.find((candidate) => candidate.name === runtime);
  if (info?.available === true) return;
  const available = known.filter((candidate) => candidate.available).map((candidate) => candidate.name);
  const hint = info?.hint ?? installHint(runtime);
  throw new KsError("INVALID_REQUEST", {
    details: [{ path: "runtime", message: `runtime ${runtime} is not available. ${hint}. Available: ${available.join(", ")}` }],
  });
}

/** @throws KsError `ROUTE_CONFLICT` where another function has one of these paths, or asks for it */
export function refuseTakenPath(taken: RouteTable, routes: readonly Route[]): void {
  for (const route of routes) {
    const other = taken.findConflict(route);
    if (other === undefined) continue;
    throw new KsError("ROUTE_CONFLICT", {
      message: `Path ${route.path} is taken by function ${other.functionName} (${other.path})`,
      details: { path: route.path, function: other.functionName, takenBy: other.path },
    });
  }
}
