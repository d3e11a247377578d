import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { MAX_CODE_BYTES } from "@kube-serverless/contracts";
import type { ConfigMapObject } from "./objects.ts";

/** Code whose JSON is larger goes to a ConfigMap: client-side apply keeps a copy in an annotation, which may have 256 KiB. */
const MAX_INLINE_JSON_BYTES = 128 * 1024;
/** Key of what the REST API puts into a ConfigMap. */
export const CODE_KEY = "code.gz";

export function hashCode(code: string): string {
  return createHash("sha256").update(code).digest("base64url");
}

export function fitsInline(code: string): boolean {
  return Buffer.byteLength(JSON.stringify(code)) <= MAX_INLINE_JSON_BYTES;
}

/** Gzipped, in base64, as binary fields have it. */
export function packCode(code: string): string {
  return gzipSync(code).toString("base64");
}

/** @throws when it is not what `packCode` gives, or is larger than any code */
export function unpackCode(packed: string): string {
  return gunzipSync(Buffer.from(packed, "base64"), { maxOutputLength: MAX_CODE_BYTES }).toString();
}

/** Code under one key of a ConfigMap: text, or gzipped as binary; undefined where there is none that can be read. */
export function readConfigMapCode({ data, binaryData }: ConfigMapObject, key: string): string | undefined {
  const text = data?.[key];
  if (text !== undefined) return text === "" || Buffer.byteLength(text) > MAX_CODE_BYTES ? undefined : text;
  const packed = binaryData?.[key];
  if (packed === undefined) return undefined;
  try {
    return unpackCode(packed);
  } catch {
    return undefined;
  }
}

/** Hash of the code under each key. */
export function hashConfigMap(object: ConfigMapObject): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const key of [...Object.keys(object.data ?? {}), ...Object.keys(object.binaryData ?? {})]) {
    const code = readConfigMapCode(object, key);
    if (code !== undefined) hashes.set(key, hashCode(code));
  }
  return hashes;
}
