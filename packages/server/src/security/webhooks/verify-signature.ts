import { createHmac, timingSafeEqual } from "node:crypto";
import { findMissingSecrets, KsError, secretNamesOf, type WebhookSignature } from "@kube-serverless/contracts";

/** A trigger's `config.signature` with the secrets that it names, ready for each request. */
export interface WebhookCheck {
  scheme: WebhookSignature["scheme"];
  secrets: readonly string[];
  /** How far `t` of a Stripe signature may be from now. */
  toleranceMs: number;
}

const DEFAULT_TOLERANCE_SECONDS = 300;
/** More signatures than a sender that changes its secret sends. */
const MAX_SIGNATURES = 16;

/** A signature without any secret that is there lets nobody in. */
export function compileWebhookCheck(signature: WebhookSignature, environment: Readonly<Record<string, string>>): WebhookCheck {
  const missing = findMissingSecrets(signature, environment);
  return {
    scheme: signature.scheme,
    secrets: secretNamesOf(signature)
      .filter((name) => !missing.includes(name))
      .map((name) => environment[name]!),
    toleranceMs: (signature.toleranceSeconds ?? DEFAULT_TOLERANCE_SECONDS) * 1000,
  };
}

/**
 * Checks who sent a webhook, over the exact bytes of the body, in constant time.
 * @throws KsError `UNAUTHENTICATED` saying what is wrong with the signature, not what it should be.
 */
export function checkWebhook(
  check: WebhookCheck,
  headers: Readonly<Record<string, string>>,
  body: readonly Uint8Array[],
  nowMs: number,
): void {
  const problem = check.scheme === "github" ? checkGithub(check, headers, body) : checkStripe(check, headers, body, nowMs);
  if (problem !== undefined) throw new KsError("UNAUTHENTICATED", { message: `Authentication required: ${problem}` });
}

function checkGithub(
  { secrets }: WebhookCheck,
  headers: Readonly<Record<string, string>>,
  body: readonly Uint8Array[],
): string | undefined {
  const header = headers["x-hub-signature-256"];
  if (header === undefined) return "X-Hub-Signature-256 is missing";
  const signature = /^sha256=([0-9a-f]{64})$/.exec(header)?.[1];
  if (signature === undefined) return "X-Hub-Signature-256 must be sha256= and 64 hexadecimal digits";
  return isSigned(secrets, [], body, [signature]) ? undefined : "X-Hub-Signature-256 does not match the body";
}

function checkStripe(
  { secrets, toleranceMs }: WebhookCheck,
  headers: Readonly<Record<string, string>>,
  body: readonly Uint8Array[],
  nowMs: number,
): string | undefined {
  const header = headers["stripe-signature"];
  if (header === undefined) return "Stripe-Signature is missing";
  const { timestamp, signatures } = parseStripe(header);
  if (timestamp === undefined || signatures.length === 0) return "Stripe-Signature must have one t and at least one v1";
  // The time is signed, so an old request cannot be sent anew under a later one.
  if (!isSigned(secrets, [Buffer.from(`${timestamp}.`)], body, signatures)) return "Stripe-Signature does not match the body";
  const distanceMs = Math.abs(nowMs - Number(timestamp) * 1000);
  return distanceMs <= toleranceMs ? undefined : `Stripe-Signature is more than ${toleranceMs / 1000} s off the clock of this server`;
}

function parseStripe(header: string): { timestamp: string | undefined; signatures: string[] } {
  const timestamps: string[] = [];
  const signatures: string[] = [];
  for (const part of header.split(",")) {
    const [, key, value] = /^\s*([a-z0-9]+)=([0-9a-f]+)\s*$/.exec(part) ?? [];
    if (key === "t" && /^\d{1,12}$/.test(value ?? "")) timestamps.push(value!);
    // Others, such as v0, are for tests and weaker.
    if (key === "v1" && value?.length === 64 && signatures.length < MAX_SIGNATURES) signatures.push(value);
  }
  return { timestamp: timestamps.length === 1 ? timestamps[0] : undefined, signatures };
}

function isSigned(
  secrets: readonly string[],
  before: readonly Uint8Array[],
  body: readonly Uint8Array[],
  signatures: readonly string[],
): boolean {
  const sent = signatures.map((signature) => Buffer.from(signature, "hex"));
  let isRight = false;
  for (const secret of secrets) {
    const hmac = createHmac("sha256", secret);
    for (const chunk of before) hmac.update(chunk);
    for (const chunk of body) hmac.update(chunk);
    const expected = hmac.digest();
    for (const signature of sent) if (timingSafeEqual(signature, expected)) isRight = true;
  }
  return isRight;
}
