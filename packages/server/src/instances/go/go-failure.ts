import { KsError } from "@kube-serverless/contracts";
import { GO_FILE_NAME, type GoHeader, type GoImport } from "./go-source.ts";

/** Stands in for the file that names the handler; build.sh writes it. */
const HANDLER_FILE = "kubeserverless_handler.go";

/** What the compiler's scanner and parser say; it checks types only when they have nothing to say. */
const SYNTAX_WORDS =
  /syntax error|invalid character|not terminated|newline in |unknown escape|escape is invalid|rune literal|invalid BOM|invalid NUL|invalid UTF-8|(hexadecimal|octal|binary|decimal) literal|digit '.' in|'_' must separate/;

const MAX_MESSAGE_LENGTH = 16_000;

/** FUNCTION_FAILED as the frame FAILED would say it. */
export function buildGoFailure(reason: string, text: string): KsError {
  const message = `${reason}: ${text}`.slice(0, MAX_MESSAGE_LENGTH);
  return new KsError("FUNCTION_FAILED", { message, details: { reason, message } });
}

/** Refuses, before anything runs, imports that can't be had. */
export function checkGoImports(header: GoHeader, available: ReadonlySet<string>): void {
  for (const entry of header.imports) {
    if (entry.path === "C") throw buildGoFailure("CompileError", `${placeOf(entry)}: import "C": cgo is not available to functions`);
    if (entry.path === "unsafe" || available.has(entry.path)) continue;
    const known = `${placeOf(entry)}: package ${entry.path} is not in Go's standard library, and functions have no other packages`;
    throw buildGoFailure("ModuleNotFound", known);
  }
}

function placeOf({ line, column }: GoImport): string {
  return `${GO_FILE_NAME}:${line}:${column}`;
}

/** What the compiler or linker said about the function, in the user's terms. */
export function explainCompilerOutput(output: string, handler: string): KsError {
  const lines = output
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "" && !line.startsWith("# "));
  const own = lines.filter((line) => !line.startsWith(HANDLER_FILE));
  if (own.every((line) => line.includes("too many errors"))) return explainHandler(lines, handler);
  const reason = own.some((line) => SYNTAX_WORDS.test(line)) ? "SyntaxError" : "CompileError";
  return buildGoFailure(reason, own.map(addHint).join("\n"));
}

function explainHandler(lines: readonly string[], handler: string): KsError {
  const first = lines[0] ?? "";
  if (first === "" || first.includes("undefined:")) {
    return buildGoFailure(
      "HandlerNotFound",
      `there is no function ${handler} in the code; declare func ${handler} or name another handler`,
    );
  }
  const words = first.replace(/^[^ ]+ /, "");
  return buildGoFailure("HandlerNotFound", `${handler} is not a function that can be a handler: ${words}`);
}

function addHint(line: string): string {
  return line.includes("go:embed") ? `${line} (a function is one source file: there is nothing to embed)` : line;
}
