import { ApiKeyView, CreateApiKey, CreatedApiKey, RotateApiKey } from "../api-key.ts";
import type { Operation, Parameter } from "./operation.ts";

const JSON_TYPE = "application/json";

const ID: Parameter = {
  name: "id",
  in: "path",
  description: "The key's id",
  schema: { type: "string" },
  example: "025cKOdjHl4S",
};

const VIEW = {
  id: "025cKOdjHl4S",
  name: "deploys from CI",
  role: "developer",
  functions: ["team-a-*"],
  createdAt: "2026-01-15T10:30:00.000Z",
  expiresAt: "2027-01-15T00:00:00.000Z",
  lastUsedAt: null,
  previousSecretUntil: null,
};
const SECRET = "ksk_025cKOdjHl4S_…";

export const KEY_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/api/v1/keys",
    id: "listKeys",
    tag: "Access",
    summary: "List API keys",
    description: "By name; never their secrets.",
    answers: { 200: { description: "The keys", content: { type: JSON_TYPE, schema: ApiKeyView.array(), example: [VIEW] } } },
    errors: ["ROUTE_NOT_FOUND"],
  },
  {
    method: "post",
    path: "/api/v1/keys",
    id: "createKey",
    tag: "Access",
    summary: "Create an API key",
    description: "`key` is told this once: of what is kept nobody can make it again.",
    body: {
      required: true,
      type: JSON_TYPE,
      schema: CreateApiKey,
      example: { name: "deploys from CI", role: "developer", functions: "team-a-*", expiresAt: "2099-01-15T00:00:00Z" },
    },
    answers: {
      201: {
        description: "Created",
        content: { type: JSON_TYPE, schema: CreatedApiKey, example: { ...VIEW, key: SECRET } },
        headers: { Location: "The key" },
      },
    },
    errors: ["INVALID_REQUEST", "UNSUPPORTED_MEDIA_TYPE", "BODY_TOO_LARGE", "ROUTE_NOT_FOUND", "STORE_UNAVAILABLE"],
  },
  {
    method: "get",
    path: "/api/v1/keys/{id}",
    id: "getKey",
    tag: "Access",
    summary: "Get an API key",
    parameters: [ID],
    answers: { 200: { description: "The key, without its secret", content: { type: JSON_TYPE, schema: ApiKeyView, example: VIEW } } },
    errors: ["KEY_NOT_FOUND"],
  },
  {
    method: "post",
    path: "/api/v1/keys/{id}/rotate",
    id: "rotateKey",
    tag: "Access",
    summary: "Rotate an API key",
    description: "Gives the key a new secret, told this once; the old one works on for the overlap.",
    parameters: [ID],
    body: { required: false, type: JSON_TYPE, schema: RotateApiKey, example: { overlapSeconds: 3600 } },
    answers: {
      200: { description: "Rotated", content: { type: JSON_TYPE, schema: CreatedApiKey, example: { ...VIEW, key: SECRET } } },
    },
    errors: ["INVALID_REQUEST", "UNSUPPORTED_MEDIA_TYPE", "BODY_TOO_LARGE", "KEY_NOT_FOUND", "STORE_UNAVAILABLE"],
  },
  {
    method: "delete",
    path: "/api/v1/keys/{id}",
    id: "deleteKey",
    tag: "Access",
    summary: "Delete an API key",
    description: "Answered once the key is refused, also after a restart.",
    parameters: [ID],
    answers: { 204: { description: "Deleted" } },
    errors: ["KEY_NOT_FOUND", "STORE_UNAVAILABLE"],
  },
];
