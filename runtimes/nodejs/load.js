"use strict";

const { isBuiltin } = require("node:module");
const vm = require("node:vm");
const { uncurryThis } = require("./builtins.js");
const { cut, describeError } = require("./errors.js");

const FOLDER = "/function";
const CLASS = /^class\b/;
const functionToString = uncurryThis(Function.prototype.toString);
const bind = uncurryThis(Function.prototype.bind);

/** Why a function could not be loaded: reason and message of FAILED. */
class LoadFailure extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

function buildMissingModule(specifier, code) {
  const error = new Error(`Cannot find module '${specifier}': only the modules built into Node.js can be loaded`);
  error.code = code;
  return error;
}

/**
 * The handler that `meta` names, found in its code.
 * @returns {{call: Function, takesCallback: boolean} | Promise<…>} a promise for ES modules alone
 * @throws LoadFailure
 */
function loadHandler(meta, code) {
  const name = splitHandler(meta.handler);
  if (meta.module === "esm") return loadModule(name, code);
  return findHandler(loadCommonJs(name.file, code), name, `${FOLDER}/${name.file}.js`);
}

async function loadModule(name, code) {
  return findHandler(await loadEsm(name.file, code), name, `${FOLDER}/${name.file}.mjs`);
}

/** `index.handler` → file `index`, exports [`handler`]; the file may be in a folder. */
function splitHandler(handler) {
  const parts = handler.split(".");
  return parts.length === 1 ? { file: "index", path: parts } : { file: parts[0], path: parts.slice(1) };
}

function loadCommonJs(file, code) {
  const filename = `${FOLDER}/${file}.js`;
  const module = { exports: {}, id: ".", filename, loaded: false, children: [], paths: [], require: requireBuiltin };
  const dirname = filename.slice(0, filename.lastIndexOf("/"));
  try {
    const run = vm.compileFunction(withoutPrologue(code), ["exports", "require", "module", "__filename", "__dirname"], {
      filename,
      importModuleDynamically: importBuiltin,
    });
    run.call(module.exports, module.exports, requireBuiltin, module, filename, dirname);
  } catch (error) {
    throw explain(error, filename);
  }
  module.loaded = true;
  return module.exports;
}

async function loadEsm(file, code) {
  const filename = `${FOLDER}/${file}.mjs`;
  const module = compileEsm(filename, withoutPrologue(code));
  try {
    await module.link(linkBuiltin);
    await module.evaluate();
    return module.namespace;
  } catch (error) {
    throw explain(error, filename);
  }
}

function compileEsm(filename, code) {
  const identifier = `file://${filename}`;
  try {
    return new vm.SourceTextModule(code, {
      identifier,
      initializeImportMeta(meta) {
        meta.dirname = filename.slice(0, filename.lastIndexOf("/"));
        meta.filename = filename;
        meta.url = identifier;
      },
      importModuleDynamically: importBuiltin,
    });
  } catch (error) {
    const { findModuleErrorLine } = require("./module-error-line.js");
    throw new LoadFailure("SyntaxError", locate(error, filename, findModuleErrorLine(code, error.message, filename)));
  }
}

/** Without a byte order mark, and with a `#!` line turned into a comment, so that lines keep their numbers. */
function withoutPrologue(code) {
  if (code.charCodeAt(0) === 0xfeff) code = code.slice(1);
  return code.startsWith("#!") ? `//${code}` : code;
}

function requireBuiltin(specifier) {
  if (!isBuiltin(specifier)) throw buildMissingModule(specifier, "MODULE_NOT_FOUND");
  return require(specifier);
}
requireBuiltin.resolve = (specifier) => {
  if (!isBuiltin(specifier)) throw buildMissingModule(specifier, "MODULE_NOT_FOUND");
  return specifier;
};
requireBuiltin.cache = Object.create(null);
requireBuiltin.main = undefined;

function importBuiltin(specifier) {
  if (!isBuiltin(specifier)) throw buildMissingModule(specifier, "ERR_MODULE_NOT_FOUND");
  return import(specifier);
}

/** A built-in module as Node.js shows it to ES modules; made from `require`, as `import` would cost 0.4 MiB of memory. */
function linkBuiltin(specifier) {
  if (!isBuiltin(specifier)) throw buildMissingModule(specifier, "ERR_MODULE_NOT_FOUND");
  const exports = require(specifier);
  const names = Object.keys(exports).filter((name) => name !== "default");
  const module = new vm.SyntheticModule([...names, "default"], () => {
    for (const name of names) module.setExport(name, exports[name]);
    module.setExport("default", exports);
  });
  return module;
}

/** The failure that an error of compiling or running the code stands for. */
function explain(error, filename) {
  return new LoadFailure(reasonOf(error, filename), locate(error, filename, lineOf(error, filename)));
}

function reasonOf(error, filename) {
  if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") return "ModuleNotFound";
  // What code throws by itself, with JSON.parse perhaps, was thrown by one of its lines.
  const isCompileError = error instanceof SyntaxError && !String(error.stack).includes(`${filename}:`);
  return isCompileError || startsWithPlace(error, filename) ? "SyntaxError" : "LoadError";
}

/** The stack of an error of compiling begins with the place, before its name. */
function startsWithPlace(error, filename) {
  return error instanceof SyntaxError && String(error.stack).startsWith(`${filename}:`);
}

/** `SyntaxError: Unexpected token '}' (index.js:3)` */
function locate(error, filename, line) {
  if (error === null || error === undefined) return `The code threw ${error} while it was loaded, instead of an Error`;
  const { type, message } = describeError(error);
  return cut(`${type}: ${message}${line === "" ? "" : ` (${filename.slice(FOLDER.length + 1)}:${line})`}`, 8_192);
}

/** The line of the code that an error came from, or "". */
function lineOf(error, filename) {
  const stack = typeof error?.stack === "string" ? error.stack : "";
  const start = stack.indexOf(`${filename}:`);
  return start === -1 ? "" : (/^[0-9]+/.exec(stack.slice(start + filename.length + 1))?.[0] ?? "");
}

function findHandler(exports, { file, path }, filename) {
  let found;
  try {
    found = follow(exports, path) ?? follow(exports?.default, path) ?? defaultItself(exports, path);
  } catch (error) {
    // A getter, or a proxy, of the function's own.
    throw explain(error, filename);
  }
  if (found === undefined) {
    throw new LoadFailure("HandlerNotFound", `HandlerNotFound: "${path.join(".")}" is not exported by ${file}; ${listExports(exports)}`);
  }
  const { value, owner } = found;
  if (typeof value !== "function" || CLASS.test(functionToString(value))) {
    const kind = typeof value === "function" ? "a class" : `of type ${value === null ? "null" : typeof value}`;
    throw new LoadFailure("UnsupportedHandler", `UnsupportedHandler: export "${path.join(".")}" of ${file} is ${kind}, not a function`);
  }
  return { call: bind(value, owner), takesCallback: value.length >= 3 };
}

function follow(root, path) {
  let owner;
  let value = root;
  for (let i = 0; i < path.length; i += 1) {
    const name = path[i];
    if (value === null || (typeof value !== "object" && typeof value !== "function") || !(name in value)) return undefined;
    owner = value;
    value = value[name];
  }
  // What every object inherits, such as `toString`, is not an export.
  return value === Object.prototype[path[0]] ? undefined : { value, owner };
}

/** `module.exports = function …` is what a handler called `default` means. */
function defaultItself(exports, path) {
  return path.length === 1 && path[0] === "default" && typeof exports === "function" ? { value: exports, owner: undefined } : undefined;
}

function listExports(exports) {
  if (typeof exports === "function") return "module.exports is a function itself: export it by name, or call the handler `default`";
  if (exports === null || typeof exports !== "object") return `module.exports is of type ${exports === null ? "null" : typeof exports}`;
  const names = Object.keys(exports);
  if (exports.default !== null && typeof exports.default === "object") {
    for (const name of Object.keys(exports.default)) names.push(`default.${name}`);
  }
  return names.length === 0 ? "it exports nothing" : `it exports ${names.slice(0, 50).join(", ")}`;
}

module.exports = { LoadFailure, loadHandler };
