// A server that is going to be killed: makes a sandbox, starts what its arguments say, tells when all of it runs.
import { createSandbox } from "../../../packages/server/src/instances/local/sandbox/create-sandbox.ts";
import { isRoot, readLine, SHELL, spec } from "./support.ts";

const [runtimeFolder = "", mode = "auto", ...marks] = process.argv.slice(2);
const log = { info: () => undefined, warn: () => undefined };
const sandbox = await createSandbox({ runtimeFolder, runAsRoot: isRoot, mode: mode === "plain" ? "plain" : "require", log });
const processes = await Promise.all(
  marks.map((mark) => sandbox.spawn(spec([SHELL, "-c", `echo ready; sleep ${mark} & exec sleep ${mark}`], { network: "outbound" }))),
);
await Promise.all(processes.map(readLine));
process.stdout.write("ready\n");
setInterval(() => undefined, 1_000);
