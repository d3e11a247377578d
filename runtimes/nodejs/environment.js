"use strict";

const { jsonParse } = require("./builtins.js");

const platform = {
  PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
  HOME: process.env.HOME ?? "/tmp",
  LANG: process.env.LANG ?? "C.UTF-8",
  TZ: process.env.TZ ?? "UTC",
};

/** Makes process.env the function's environment and the platform's four, of which HOME alone is not the function's to set. */
function applyEnvironment(json) {
  const wanted = { ...platform, ...jsonParse(json), HOME: platform.HOME };
  const { env } = process;
  for (const name of Object.keys(env)) if (!Object.hasOwn(wanted, name)) delete env[name];
  // Setting TZ makes V8 load the zone again, even where it stays the same.
  for (const name of Object.keys(wanted)) if (env[name] !== wanted[name]) env[name] = wanted[name];
}

module.exports = { applyEnvironment };
