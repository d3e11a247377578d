import { type FunctionSpec, KsError, parseFunctionSpec } from "@kube-serverless/contracts";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { buildEtag, type FunctionView } from "../functions/port.ts";
import { allow, type RequestAccess } from "./authorization.ts";
import type { ApiDependencies } from "./dependencies.ts";
import { buildDeployedBody, buildFunctionBody, type Exposure } from "./function-body.ts";
import { takePage } from "./list-page.ts";
import { readJsonBody } from "./request-body.ts";

const LIST_PATH = "/api/v1/functions";
const ONE_PATH = "/api/v1/functions/:name";

export interface NameParams {
  Params: { name: string };
}

/** `/functions` and `/functions/{name}`. */
export function addFunctionRoutes(app: FastifyInstance, { functions, checkCron, bodies, takersOfFamily }: ApiDependencies): void {
  app.get(LIST_PATH, allow("list", "functions"), async (request, reply) => {
    const visible = (await functions.list()).filter(({ stored }) => request.access.maySee(stored.spec.name));
    const page = takePage(visible, (view) => view.stored.spec.name, LIST_PATH, request.query as URLSearchParams);
    if (page.link !== undefined) void reply.header("Link", page.link);
    return page.entries.map((view) => buildFunctionBody(view, exposureOf(request.access, view)));
  });

  app.post(LIST_PATH, allow("create", "functions"), async (request, reply) => {
    const spec = parseFunctionSpec(await readJsonBody(request.raw, bodies.hold(reply.raw)), { cron: checkCron });
    request.access.require("create", "functions", spec.name);
    request.access.requireTaking(queuesOf(spec), takersOfFamily);
    const view = await functions.create(spec).catch((error: unknown) => throwWithoutHidden(error, request.access));
    request.access.noteChange("create", "functions", spec.name, { generation: view.stored.generation });
    tag(reply, view).code(201).header("Location", `${LIST_PATH}/${spec.name}`);
    return buildDeployedBody(view);
  });

  app.get<NameParams>(ONE_PATH, allow("get", "functions"), async (request, reply) => {
    const { view, code } = await readWithCode(functions, request.params.name);
    tag(reply, view);
    const exposure = exposureOf(request.access, view);
    return buildFunctionBody(view, request.access.may("get", "functions/code", request.params.name) ? { ...exposure, code } : exposure);
  });

  app.put<NameParams>(ONE_PATH, allow("update", "functions"), async (request, reply) => {
    const { name } = request.params;
    const { stored } = await functions.get(name);
    const spec = parseFunctionSpec(await readJsonBody(request.raw, bodies.hold(reply.raw)), { name, cron: checkCron });
    const known = queuesOf(stored.spec);
    request.access.requireTaking(
      queuesOf(spec).filter((queue) => !known.includes(queue)),
      takersOfFamily,
    );
    const view = await functions
      .update(name, spec, readIfMatch(request))
      .catch((error: unknown) => throwWithoutHidden(error, request.access));
    request.access.noteChange("update", "functions", name, { generation: view.stored.generation });
    tag(reply, view);
    return buildDeployedBody(view);
  });

  app.delete<NameParams>(ONE_PATH, allow("delete", "functions"), async (request, reply) => {
    await functions.delete(request.params.name, readIfMatch(request));
    request.access.noteChange("delete", "functions", request.params.name);
    return reply.code(204).send();
  });
}

function queuesOf({ triggers }: Pick<FunctionSpec, "triggers">): string[] {
  return triggers.flatMap((trigger) => (trigger.type === "queue" ? [trigger.config.queue] : []));
}

/** The code comes from the store after the view: when the function changed in between, both are read anew. */
async function readWithCode(functions: ApiDependencies["functions"], name: string): Promise<{ view: FunctionView; code: string }> {
  for (;;) {
    const before = await functions.get(name);
    const read = await functions.readCode(name).catch((error: unknown) => error as Error);
    const view = await functions.get(name);
    const isSame = before.stored.uid === view.stored.uid && before.stored.revision === view.stored.revision;
    if (isSame && typeof read === "string") return { view, code: read };
    if (isSame) throw read;
  }
}

function exposureOf(access: RequestAccess, { stored }: FunctionView): Exposure {
  return { masksEnvironment: !access.may("get", "functions/environment", stored.spec.name) };
}

/** Whose path is taken is told to who may see that function. */
function throwWithoutHidden(error: unknown, access: RequestAccess): never {
  if (!(error instanceof KsError) || error.code !== "ROUTE_CONFLICT") throw error;
  const { path, function: owner } = error.details as { path: string; function: string };
  if (access.maySee(owner)) throw error;
  throw new KsError("ROUTE_CONFLICT", { message: `Path ${path} is taken by another function`, details: { path } });
}

function tag(reply: FastifyReply, view: FunctionView): FastifyReply {
  return reply.header("ETag", buildEtag(view.stored));
}

function readIfMatch(request: FastifyRequest): string | undefined {
  const value: string | string[] | undefined = request.headers["if-match"];
  if (value === "") throw new KsError("BAD_REQUEST", { message: "Bad request: If-Match must be * or a list of entity tags" });
  return value;
}
