import { KEY_PREFIX } from "../keys/key-text.ts";

/** Headers in which a caller may prove who it is. */
export type CredentialHeader = "authorization" | "x-api-key";

/** What a request says to prove its caller. */
export type Credentials = Readonly<Partial<Record<CredentialHeader, string>>>;

export const NO_CREDENTIALS: Credentials = {};

/** hot: whether a header of this lower-case name may prove a caller. */
export function isCredential(name: string): name is CredentialHeader {
  return name === "authorization" || name === "x-api-key";
}

const BEARER = /^bearer +([\x21-\x7e]+) *$/i;

/** The token of a bearer `Authorization`; undefined for other schemes, which are the function's own affair. */
export function parseBearer(authorization: string): string | undefined {
  return BEARER.exec(authorization)?.[1];
}

/** Whether it was meant as a key of ours, right or wrong: such a text never reaches a function. */
export function looksLikeKey(text: string): boolean {
  return text.startsWith(KEY_PREFIX);
}
