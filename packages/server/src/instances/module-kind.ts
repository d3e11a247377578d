import { Script } from "node:vm";

/** What only a module may say; V8's own words, as Node.js itself tells the kinds apart. */
const MODULE_SYNTAX = [
  "Cannot use import statement outside a module",
  "Unexpected token 'export'",
  "Cannot use 'import.meta' outside a module",
  "await is only valid in async functions and the top level bodies of modules",
];

/**
 * CommonJS or ES module, decided by syntax: code that compiles as the body of a function is CommonJS, code that doesn't
 * because of what only modules have is one. Nothing is run.
 */
export function detectModuleKind(code: string): "commonjs" | "esm" {
  try {
    new Script(`(function (exports, require, module, __filename, __dirname) {${code}\n})`);
    return "commonjs";
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    return MODULE_SYNTAX.some((words) => message.includes(words)) ? "esm" : "commonjs";
  }
}
