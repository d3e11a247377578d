import { type HttpTrigger, methodsOverlap, type PathPattern, parsePathPattern } from "@kube-serverless/contracts";
import type { SpecWithoutCode } from "../store/port.ts";

/** One HTTP trigger in the table. */
export interface Route {
  uid: string;
  functionName: string;
  path: string;
  methods: readonly string[] | undefined;
  /** What the trigger says beside. */
  config: HttpTrigger["config"];
  pattern: PathPattern;
}

export interface RouteMatch {
  route: Route;
  params: Record<string, string> | undefined;
}

/** What a path led to: a route, or the methods that it would take. */
export type RouteLookup =
  | { kind: "match"; match: RouteMatch }
  | { kind: "method"; allow: string[]; routes: readonly Route[] }
  | { kind: "none" };

class Node {
  readonly literals = new Map<string, Node>();
  parameter: Node | undefined;
  /** Routes that end here, and those that take the rest. */
  readonly exact: Route[] = [];
  readonly wildcard: Route[] = [];

  get empty(): boolean {
    return this.literals.size === 0 && this.parameter === undefined && this.exact.length === 0 && this.wildcard.length === 0;
  }
}

/**
 * HTTP triggers by path. The most specific wins, segment by segment: literal over parameter over wildcard. A walk over the
 * segments of one path visits at most two nodes a segment and branch, whatever the number of routes.
 */
export class RouteTable {
  readonly #root = new Node();
  readonly #byUid = new Map<string, Route[]>();
  /** Changes with every change of the table, so that what was looked up may be kept meanwhile. */
  version = 0;

  /** Replaces the routes of one function. */
  set(uid: string, routes: readonly Route[]): void {
    this.remove(uid);
    if (routes.length === 0) return;
    for (const route of routes) this.#listAt(route, true)?.push(route);
    this.#byUid.set(uid, [...routes]);
    this.version++;
  }

  remove(uid: string): void {
    const routes = this.#byUid.get(uid);
    if (routes === undefined) return;
    for (const route of routes) this.#removeRoute(route);
    this.#byUid.delete(uid);
    this.version++;
  }

  /** Another function's route that would take some of the same requests. */
  findConflict(route: Route): Route | undefined {
    return this.findConflicts(route)[0];
  }

  /** All of them: tables that are fed from elsewhere may hold several for a while. */
  findConflicts(route: Route): Route[] {
    return this.#listAt(route, false)?.filter((other) => other.uid !== route.uid && methodsOverlap(other.methods, route.methods)) ?? [];
  }

  find(segments: readonly string[], method: string): RouteLookup {
    const others: Route[] = [];
    const route = walk(this.#root, segments, 0, method, others);
    if (route !== undefined) return { kind: "match", match: { route, params: readParams(route.pattern, segments) } };
    if (others.length === 0) return { kind: "none" };
    return { kind: "method", allow: [...new Set(others.flatMap(allowedMethods))], routes: others };
  }

  #listAt(route: Route, create: boolean): Route[] | undefined {
    const nodes = this.#nodesAlong(route, create);
    const last = nodes?.at(-1);
    if (last === undefined) return undefined;
    return route.pattern.wildcard ? last.wildcard : last.exact;
  }

  #nodesAlong(route: Route, create: boolean): Node[] | undefined {
    const nodes = [this.#root];
    for (const segment of route.pattern.segments) {
      const node = nodes.at(-1)!;
      let next = segment.kind === "parameter" ? node.parameter : node.literals.get(segment.value);
      if (next === undefined) {
        if (!create) return undefined;
        next = new Node();
        if (segment.kind === "parameter") node.parameter = next;
        else node.literals.set(segment.value, next);
      }
      nodes.push(next);
    }
    return nodes;
  }

  #removeRoute(route: Route): void {
    const nodes = this.#nodesAlong(route, false);
    const last = nodes?.at(-1);
    if (nodes === undefined || last === undefined) return;
    const list = route.pattern.wildcard ? last.wildcard : last.exact;
    const at = list.indexOf(route);
    if (at >= 0) list.splice(at, 1);
    for (let depth = nodes.length - 1; depth > 0 && nodes[depth]!.empty; depth--) {
      const segment = route.pattern.segments[depth - 1]!;
      if (segment.kind === "parameter") nodes[depth - 1]!.parameter = undefined;
      else nodes[depth - 1]!.literals.delete(segment.value);
    }
  }
}

/** The routes that a spec asks for; the paths were checked when it was parsed. */
export function buildRoutes(uid: string, spec: Pick<SpecWithoutCode, "name" | "triggers">): Route[] {
  const routes: Route[] = [];
  for (const trigger of spec.triggers) {
    if (trigger.type !== "http") continue;
    const parsed = parsePathPattern(trigger.config.path);
    if ("problem" in parsed) continue;
    const { config } = trigger;
    routes.push({ uid, functionName: spec.name, path: config.path, methods: config.methods, config, pattern: parsed.pattern });
  }
  return routes;
}

function walk(node: Node, segments: readonly string[], depth: number, method: string, others: Route[]): Route | undefined {
  if (depth === segments.length) {
    return pick(node.exact, method, others) ?? pick(node.wildcard, method, others);
  }
  const segment = segments[depth]!;
  const literal = node.literals.get(segment);
  const byLiteral = literal === undefined ? undefined : walk(literal, segments, depth + 1, method, others);
  if (byLiteral !== undefined) return byLiteral;
  // A parameter takes at least one character.
  const byParameter =
    node.parameter === undefined || segment === "" ? undefined : walk(node.parameter, segments, depth + 1, method, others);
  return byParameter ?? pick(node.wildcard, method, others);
}

function allowedMethods({ methods = [] }: Route): string[] {
  return methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
}

/** HEAD goes where GET goes; `others` gets the routes of other methods. */
function pick(routes: readonly Route[], method: string, others: Route[]): Route | undefined {
  for (const route of routes) {
    const { methods } = route;
    if (methods === undefined || methods.includes(method) || (method === "HEAD" && methods.includes("GET"))) return route;
    others.push(route);
  }
  return undefined;
}

function readParams(pattern: PathPattern, segments: readonly string[]): Record<string, string> | undefined {
  let params: Record<string, string> | undefined;
  for (const [index, segment] of pattern.segments.entries()) {
    if (segment.kind === "parameter") (params ??= {})[segment.name] = segments[index]!;
  }
  return params;
}
