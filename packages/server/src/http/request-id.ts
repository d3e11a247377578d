import { randomBytes } from "node:crypto";

/** Tells the requests of this process from those of every other one. */
const PROCESS_PART = randomBytes(12).toString("base64url").replaceAll(/[-_]/g, "x");
let count = 0;

/** hot: an id that no other request has; a counter behind a random part, as random bytes for each would cost more than routing does. */
export function createRequestId(): string {
  return `${PROCESS_PART}.${(++count).toString(36)}`;
}

const SANE_REQUEST_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;

/** The caller's request id, when it is a sane one. */
export function readRequestId(header: string | undefined): string | undefined {
  return header !== undefined && SANE_REQUEST_ID.test(header) ? header : undefined;
}
