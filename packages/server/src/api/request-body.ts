import type { IncomingMessage } from "node:http";
import { KsError } from "@kube-serverless/contracts";
import type { BodyHold } from "../http/body-budget.ts";
import { hasNoBody, readBody } from "../http/read-body.ts";
import { parseStrictJson } from "./strict-json.ts";

/** 1 MiB of Cyrillic code is 3 MiB where a client escapes it. */
const MAX_CONTROL_BODY_BYTES = 8 * 1024 * 1024;
export const MAX_MESSAGE_BYTES = 6 * 1024 * 1024;

/** Only JSON as such: a form that a web page of another origin posts without asking can never be it. @throws KsError `UNSUPPORTED_MEDIA_TYPE` */
export function checkJsonHead(request: IncomingMessage): void {
  if (hasNoBody(request)) return;
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== "identity") {
    throw new KsError("UNSUPPORTED_MEDIA_TYPE", { message: "Unsupported media type: send the body without Content-Encoding" });
  }
  const type = request.headers["content-type"] ?? "";
  if (!/^\s*application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?;?\s*$/i.test(type)) {
    throw new KsError("UNSUPPORTED_MEDIA_TYPE", { message: "Unsupported media type: send Content-Type: application/json (UTF-8)" });
  }
}

/** @throws KsError `INVALID_REQUEST`, `BODY_TOO_LARGE` */
export async function readJsonBody(request: IncomingMessage, hold: BodyHold): Promise<unknown> {
  return parseStrictJson(await readWholeBody(request, MAX_CONTROL_BODY_BYTES, hold));
}

/** The same, where nothing at all stands for an object without fields. */
export async function readOptionalJsonBody(request: IncomingMessage, hold: BodyHold): Promise<unknown> {
  const body = await readWholeBody(request, MAX_CONTROL_BODY_BYTES, hold);
  return body.length === 0 ? {} : parseStrictJson(body);
}

export async function readWholeBody(request: IncomingMessage, limitBytes: number, hold: BodyHold): Promise<Buffer> {
  const { chunks, bytes } = await readBody(request, limitBytes, hold);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, bytes);
}
