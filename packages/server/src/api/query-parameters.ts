import { findNearest, KsError, OPERATIONS, type Operation } from "@kube-serverless/contracts";
import type { FastifyInstance } from "fastify";

/** For people, who may come by a link that carries more. */
const PAGES = new Set(["/", "/docs"]);

/** What is not known would be ignored in silence, such as a limit that is spelt otherwise: the API's document says what each route takes. */
export function addQueryCheck(app: FastifyInstance): void {
  const operations = new Map(OPERATIONS.map((operation) => [keyOf(operation), operation]));
  const find = (method: string, url: string): Operation | undefined => operations.get(`${method === "HEAD" ? "GET" : method} ${url}`);
  app.addHook("onRoute", ({ method, url }) => {
    if (PAGES.has(url) || [method].flat().every((each) => find(each, url) !== undefined)) return;
    throw new KsError("INTERNAL", { message: `The route ${url} is not in the API's document` });
  });
  app.addHook("onRequest", async ({ method, routeOptions, query }) => {
    const operation = find(method, routeOptions.url ?? "");
    if (operation !== undefined && operation.ignoresQuery !== true) checkQuery(query as URLSearchParams, namesOf(operation));
  });
}

function keyOf({ method, path }: Operation): string {
  return `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`;
}

function namesOf({ parameters = [] }: Operation): string[] {
  return parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
}

/** @throws KsError `BAD_REQUEST` */
function checkQuery(query: URLSearchParams, known: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of query.keys()) {
    if (!known.includes(name)) throw refuse(`unknown query parameter '${name.slice(0, 64)}'; ${explainKnown(name, known)}`);
    if (seen.has(name)) throw refuse(`the query parameter '${name}' is given twice`);
    seen.add(name);
  }
}

function explainKnown(name: string, known: readonly string[]): string {
  if (known.length === 0) return "this path takes none";
  const nearest = name.length > 64 ? undefined : findNearest(name, known);
  const taken = `this path takes ${known.join(", ")}`;
  return nearest === undefined ? taken : `did you mean '${nearest}'? ${taken}`;
}

function refuse(message: string): KsError {
  return new KsError("BAD_REQUEST", { message: `Bad request: ${message}` });
}
