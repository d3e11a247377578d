import { z } from "zod";

/** Name of a runtime: the documented three, and newer ones that the machine may have. */
export const Runtime = z
  .string()
  .regex(
    /^(nodejs(18|20|22|24|26)|python3(9|10|11|12|13|14)|go1(19|[2-9][0-9]))$/,
    "must be nodejs18, python39, go119 or a newer one; see GET /api/v1/runtimes",
  )
  .meta({ id: "Runtime", examples: ["nodejs18"] });
export type Runtime = z.infer<typeof Runtime>;

export type Language = "nodejs" | "python" | "go";

export function languageOf(runtime: string): Language {
  if (runtime.startsWith("nodejs")) return "nodejs";
  return runtime.startsWith("python") ? "python" : "go";
}

/** One row of `GET /api/v1/runtimes`. */
export const RuntimeInfo = z
  .object({
    name: z.string(),
    language: z.enum(["nodejs", "python", "go"]),
    version: z.string().meta({ description: "The real version that runs it; empty when there is none" }),
    exact: z.boolean().meta({ description: "The version is of the line that the name says" }),
    available: z.boolean(),
    hint: z.string().meta({ description: "How to install what is missing; empty when nothing is" }),
  })
  .meta({ id: "RuntimeInfo", description: "A runtime, and what stands behind its name on this machine." });
export type RuntimeInfo = z.infer<typeof RuntimeInfo>;
