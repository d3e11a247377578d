import { z } from "zod";
import { ALL_FUNCTIONS, FunctionPattern, FunctionPatterns } from "./function-pattern.ts";
import { MaxConcurrency, RateLimit } from "./limits.ts";
import { Role } from "./roles.ts";

const KeyName = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9 ._@-]{0,61}[A-Za-z0-9])?$/, "must be 1 to 63 letters, digits, spaces or any of . _ @ -")
  .meta({ description: "For people, and in the audit log", examples: ["deploys from CI"] });

const WholeTime = z.iso.datetime({ offset: true });

/** Body of `POST /api/v1/keys`. */
export const CreateApiKey = z
  .strictObject({
    name: KeyName,
    role: Role,
    functions: FunctionPatterns.default([...ALL_FUNCTIONS]).meta({
      description: "Functions that the role is for; all where it is left out",
    }),
    expiresAt: WholeTime.optional().meta({ description: "ISO 8601, in the future; never where it is left out" }),
    rateLimit: RateLimit.optional(),
    maxConcurrency: MaxConcurrency.optional(),
  })
  .meta({ id: "CreateApiKey" });
export type CreateApiKey = z.infer<typeof CreateApiKey>;

/** Longest time that a rotated key's old secret may go on working. */
export const MAX_OVERLAP_SECONDS = 30 * 86_400;
export const DEFAULT_OVERLAP_SECONDS = 3_600;

/** Body of `POST /api/v1/keys/{id}/rotate`. */
export const RotateApiKey = z
  .strictObject({
    overlapSeconds: z
      .int()
      .min(0)
      .max(MAX_OVERLAP_SECONDS)
      .default(DEFAULT_OVERLAP_SECONDS)
      .meta({ description: "How long the old secret goes on working; 0 ends it at once" }),
  })
  .meta({ id: "RotateApiKey" });
export type RotateApiKey = z.infer<typeof RotateApiKey>;

/** What is shown of a key: never its secret. */
export const ApiKeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    role: Role,
    functions: z.array(FunctionPattern),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable().meta({ description: "To the minute" }),
    previousSecretUntil: z.iso.datetime().nullable().meta({ description: "After a rotation: until when the old secret works" }),
    rateLimit: RateLimit.optional(),
    maxConcurrency: MaxConcurrency.optional(),
  })
  .meta({ id: "ApiKey", description: "An API key: never its secret." });
export type ApiKeyView = z.infer<typeof ApiKeyView>;

/** Answer to creating and rotating: the only time that `key` is shown. */
export const CreatedApiKey = ApiKeyView.extend({ key: z.string().meta({ description: "The whole key; it cannot be read again" }) }).meta({
  id: "CreatedApiKey",
});
export type CreatedApiKey = z.infer<typeof CreatedApiKey>;
