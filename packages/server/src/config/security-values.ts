import { MaxConcurrency, OidcConfig, RateLimit } from "@kube-serverless/contracts";
import { z } from "zod";
import { explainAdminKey } from "../security/keys/admin-key.ts";
import type { DefaultContext, Parsed } from "./option.ts";
import { parsePath } from "./values.ts";

/** Calls a second and, after a colon, at once after a pause: `10` or `10:50`. */
export function parseRateLimit(text: string): Parsed<RateLimit | undefined> {
  if (text === "") return { value: undefined };
  const match = /^(\d{1,7}(?:\.\d{1,3})?)(?::(\d{1,8}))?$/.exec(text);
  const [, rate, burst] = match ?? [];
  const parsed = RateLimit.safeParse({ requestsPerSecond: Number(rate), ...(burst === undefined ? {} : { burst: Number(burst) }) });
  if (match !== null && parsed.success) return { value: parsed.data };
  return { problem: `must be requests a second and perhaps a burst, such as 100 or 100:200, not '${text}'` };
}

export function parseMaxConcurrency(text: string): Parsed<number | undefined> {
  if (text === "") return { value: undefined };
  const parsed = MaxConcurrency.safeParse(/^\d{1,7}$/.test(text) ? Number(text) : Number.NaN);
  return parsed.success ? { value: parsed.data } : { problem: `must be a whole number from 1 to 100000, not '${text}'` };
}

/** The key itself, never repeated in the message. */
export function parseAdminKey(text: string): Parsed<string | undefined> {
  if (text === "") return { value: undefined };
  const problem = explainAdminKey(text);
  return problem === undefined ? { value: text } : { problem };
}

/** The key in a file, without its final line end. */
export function parseAdminKeyFile(text: string, context: DefaultContext): Parsed<string | undefined> {
  if (text === "") return { value: undefined };
  const content = readText(text, context);
  if ("problem" in content) return content;
  const problem = explainAdminKey(content.value.replace(/\r?\n$/, ""));
  return problem === undefined ? { value: content.value.replace(/\r?\n$/, "") } : { problem: `${text}: the key in it ${problem}` };
}

/** The issuers in a JSON file, checked as a whole. */
export function parseOidcConfigFile(text: string, context: DefaultContext): Parsed<OidcConfig | undefined> {
  if (text === "") return { value: undefined };
  const content = readText(text, context);
  if ("problem" in content) return content;
  let json: unknown;
  try {
    json = JSON.parse(content.value);
  } catch (error) {
    return { problem: `${text} is not JSON: ${(error as Error).message}` };
  }
  const parsed = OidcConfig.safeParse(json);
  if (parsed.success) return { value: parsed.data };
  return { problem: `${text} is wrong:\n${z.prettifyError(parsed.error)}` };
}

function readText(path: string, context: DefaultContext): Parsed<string> {
  const parsed = parsePath(path, context);
  if ("problem" in parsed) return parsed;
  try {
    return { value: context.readFile(parsed.value) };
  } catch (error) {
    return { problem: `${path} cannot be read: ${(error as Error).message}` };
  }
}
