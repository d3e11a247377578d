import { z } from "zod";

/** Whether calls of a function by HTTP need a caller who may make them. */
export const FunctionAuth = z.enum(["none", "required"]).meta({
  description: "`none`: open to all; `required`: for callers who may invoke it, the default where the platform has authentication",
});
export type FunctionAuth = z.infer<typeof FunctionAuth>;
