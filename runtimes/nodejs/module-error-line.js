"use strict";

const vm = require("node:vm");

/**
 * The line at which an ES module does not compile, or "". V8 tells it to Node.js, which keeps it to itself for modules: so the
 * code is compiled once more as the body of an async function, its imports and exports blanked out. Only the same error counts.
 */
function findModuleErrorLine(code, message, filename) {
  try {
    new vm.Script(`(async()=>{"use strict";${blankModuleSyntax(code)}\n})`, { filename });
  } catch (error) {
    const line = /:([0-9]+)\n/.exec(String(error.stack));
    if (error.message === message && line !== null) return line[1];
  }
  return "";
}

function blankModuleSyntax(code) {
  return code
    .replace(/^[ \t]*import\b(?!\s*[.(])[^;'"]*(['"])[^'"\n]*\1/gm, blank)
    .replace(/^[ \t]*export\s*(?:\*[^;'"]*|\{[^}]*\}\s*from\s*)(['"])[^'"\n]*\1/gm, blank)
    .replace(/^[ \t]*export\s*\{[^}]*\}/gm, blank)
    .replace(/^([ \t]*)export\s+default\b/gm, "$10,")
    .replace(/^([ \t]*)export\b/gm, "$1")
    .replace(/\bimport\.meta\b/g, "globalThis");
}

/** The same lines, with nothing in them. */
function blank(text) {
  return text.replace(/[^\n]/g, " ");
}

module.exports = { findModuleErrorLine };
