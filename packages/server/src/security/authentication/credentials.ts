import { KEY_PREFIX } from "../keys/key-text.ts";

/** Headers in which a caller may prove who it is. */
export type CredentialHeader = "authorization" | "x-api-key";

const BEARER = /^bearer +([\x21-\x7e]+) *$/i;

/** The token of a bearer `Authorization`; undefined for other schemes, which are the function's own affair. */
export function parseBearer(authorization: string): string | undefined {
  return BEARER.exec(authorization)?.[1];
}

/** Whether it was meant as a key of ours, right or wrong: such a text never reaches a function. */
export function looksLikeKey(text: string): boolean {
  return text.startsWith(KEY_PREFIX);
}
