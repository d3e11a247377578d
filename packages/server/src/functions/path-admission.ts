import type { DeclaredFunction } from "../store/declared.ts";
import type { SpecWithoutCode } from "../store/port.ts";
import type { FunctionRegistry } from "./registry.ts";
import { buildRoutes, type Route } from "./route-table.ts";

/** What tells admitted paths apart: their shape and their methods. */
export function routeKeys(uid: string, spec: SpecWithoutCode): string[] {
  return buildRoutes(uid, spec).map(keyOf);
}

function keyOf({ pattern, methods }: Route): string {
  return methods === undefined ? pattern.shape : `${pattern.shape} ${methods.toSorted().join(",")}`;
}

/**
 * The function that has a path which this one wants, if it goes before it: whose status admitted the path first, then the older,
 * then the name. Every gateway comes to the same answer.
 */
export function findPathHolder(
  declared: DeclaredFunction,
  registry: FunctionRegistry,
  lookUp: (uid: string) => DeclaredFunction | undefined,
): { path: string; holder: DeclaredFunction } | undefined {
  for (const route of buildRoutes(declared.uid, declared.spec)) {
    for (const conflict of registry.reservedRoutes.findConflicts(route)) {
      const other = lookUp(conflict.uid);
      if (other !== undefined && goesBefore(other, conflict, declared, route)) return { path: route.path, holder: other };
    }
  }
  return undefined;
}

function goesBefore(other: DeclaredFunction, othersRoute: Route, own: DeclaredFunction, route: Route): boolean {
  const othersAdmitted = other.status.admittedPaths.includes(keyOf(othersRoute));
  const ownAdmitted = own.status.admittedPaths.includes(keyOf(route));
  if (othersAdmitted !== ownAdmitted) return othersAdmitted;
  if (other.createdAt !== own.createdAt) return other.createdAt < own.createdAt;
  return other.name < own.name;
}
