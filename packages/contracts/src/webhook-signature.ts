import { z } from "zod";

export const SIGNATURE_SCHEMES = ["github", "stripe"] as const;

const EnvironmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be the name of an entry of environment");

/** How the sender of a webhook proves itself. The secret stays in `environment`, where its value is masked for who may not see it. */
export const WebhookSignature = z
  .strictObject({
    scheme: z.enum(SIGNATURE_SCHEMES).meta({ description: "`github`: X-Hub-Signature-256; `stripe`: Stripe-Signature" }),
    secretFrom: z.union([EnvironmentName, z.array(EnvironmentName).min(1).max(2)]).meta({
      description: "Entry of `environment` that holds the secret; two while it is being changed: either is taken",
      examples: ["WEBHOOK_SECRET"],
    }),
    toleranceSeconds: z
      .int()
      .min(1)
      .max(86_400)
      .optional()
      .meta({ description: "`stripe`: how old a signature may be; 300 where it is left out" }),
  })
  .meta({ description: "Requests without a right signature are answered 401 before the function is woken." });
export type WebhookSignature = z.infer<typeof WebhookSignature>;

/** Entries of `environment` that may hold the secret. */
export function secretNamesOf({ secretFrom }: WebhookSignature): readonly string[] {
  return typeof secretFrom === "string" ? [secretFrom] : secretFrom;
}

/** Names of the environment that hold no secret, which would let anybody in. */
export function findMissingSecrets(signature: WebhookSignature, environment: Readonly<Record<string, unknown>>): string[] {
  return secretNamesOf(signature).filter((name) => !Object.hasOwn(environment, name) || environment[name] === "");
}
