import { randomBytes } from "node:crypto";

/** Tells the requests of this process from those of every other one. */
const PROCESS_PART = randomBytes(12).toString("base64url").replaceAll(/[-_]/g, "x");
let count = 0;

/** hot: an id that no other request has; a counter behind a random part, as random bytes for each would cost more than routing does. */
export function createRequestId(): string {
  return `${PROCESS_PART}.${(++count).toString(36)}`;
}
