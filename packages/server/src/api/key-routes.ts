import { CreateApiKey, KsError, parseBody, RotateApiKey } from "@kube-serverless/contracts";
import type { FastifyInstance } from "fastify";
import { noKeysError } from "../security/access-control.ts";
import type { ApiKeys } from "../security/keys/api-keys.ts";
import { allow } from "./authorization.ts";
import type { ApiDependencies } from "./dependencies.ts";
import { readJsonBody, readOptionalJsonBody } from "./request-body.ts";

const LIST_PATH = "/api/v1/keys";
const ONE_PATH = "/api/v1/keys/:id";

interface IdParams {
  Params: { id: string };
}

/** `/keys` and `/keys/{id}`: the secret of a key is told once, when it is made or rotated. */
export function addKeyRoutes(app: FastifyInstance, { keys, bodies }: Pick<ApiDependencies, "keys" | "bodies">): void {
  app.get(LIST_PATH, allow("list", "apikeys"), async () => requireKeys(keys).list());

  app.post(LIST_PATH, allow("create", "apikeys"), async (request, reply) => {
    const known = requireKeys(keys);
    const created = await known.create(parseBody(CreateApiKey, await readJsonBody(request.raw, bodies.hold(reply.raw))));
    const { id, name, role } = created;
    request.access.noteChange("create", "apikeys", id, { name, role });
    void reply.code(201).header("Location", `${LIST_PATH}/${id}`);
    return created;
  });

  app.get<IdParams>(ONE_PATH, allow("get", "apikeys"), async (request) => {
    return requireKeys(keys).get(request.params.id) ?? throwNotFound();
  });

  app.delete<IdParams>(ONE_PATH, allow("delete", "apikeys"), async (request, reply) => {
    const { id } = request.params;
    if (!(await requireKeys(keys).remove(id))) throwNotFound();
    request.access.noteChange("delete", "apikeys", id);
    return reply.code(204).send();
  });

  app.post<IdParams>(`${ONE_PATH}/rotate`, allow("update", "apikeys"), async (request, reply) => {
    const { id } = request.params;
    const known = requireKeys(keys);
    const { overlapSeconds } = parseBody(RotateApiKey, await readOptionalJsonBody(request.raw, bodies.hold(reply.raw)));
    const rotated = (await known.rotate(id, overlapSeconds * 1000)) ?? throwNotFound();
    request.access.noteChange("update", "apikeys", id, { overlapSeconds });
    return rotated;
  });
}

function requireKeys(keys: ApiKeys | undefined): ApiKeys {
  if (keys === undefined) throw noKeysError();
  return keys;
}

function throwNotFound(): never {
  throw new KsError("KEY_NOT_FOUND");
}
