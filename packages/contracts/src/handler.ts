import type { Language } from "./runtime.ts";

const EXAMPLES: Record<Language, string> = { nodejs: "index.handler", python: "handler.handler or handler", go: "Handler" };

/** Why this is no handler of the language, or undefined when it is one; of an unknown language, why it is none of any. */
export function checkHandler(handler: string, language: Language | undefined): string | undefined {
  const example = `such as ${EXAMPLES[language ?? "nodejs"]}`;
  if (!/^[A-Za-z0-9_/-]+(\.[A-Za-z0-9_/-]+)*$/.test(handler)) {
    return `must be parts of letters, digits, _, - and / joined by single dots, ${example}`;
  }
  if (language === "nodejs" && !handler.includes(".")) return `must name a file and its export, ${example}`;
  return undefined;
}
