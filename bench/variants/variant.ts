import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readProcesses, treeSeconds } from "../system/process-times.ts";
import { BenchServer, startBenchServer } from "./bench-server.ts";
import { awaitPort, Child } from "./child.ts";

const peersFolder = join(import.meta.dirname, "..", "peers");

/** The handler that every variant runs, as text. */
export const HANDLER_CODE = readFileSync(join(peersFolder, "handler.cjs"), "utf8");

export const VARIANT_NAMES = ["direct", "undici", "ours"] as const;
export type VariantName = (typeof VARIANT_NAMES)[number];

/** One way to serve the handler, in processes of its own. */
export interface Variant {
  name: VariantName;
  url: string;
  /** CPU seconds so far, by the part of the variant that used them. */
  readCpu(): Record<string, number>;
}

export interface Variants extends AsyncDisposable {
  list: Variant[];
  ours: BenchServer;
}

/** Starts all of them, each with its own worker: one that serves two gateways would be compiled for both. */
export async function startVariants(dataFolder: string, environment: NodeJS.ProcessEnv): Promise<Variants> {
  await using started = new AsyncDisposableStack();
  const startPeer = async (file: string, ...args: string[]): Promise<{ child: Child; port: number }> => {
    const child = new Child(process.execPath, ["--disable-warning=ExperimentalWarning", join(peersFolder, file), ...args], environment);
    started.defer(() => child.stop());
    return { child, port: await awaitPort(child) };
  };
  const direct = await startPeer("direct.ts");
  const worker = await startPeer("direct.ts");
  const gateway = await startPeer("undici-gateway.ts", String(worker.port));
  const ours = started.use(await startBenchServer({ dataFolder, environment }));
  await ours.deploy({ name: "hello", runtime: "nodejs24", handler: "index.handler", code: HANDLER_CODE });
  const path = "/api/v1/functions/hello/invoke";
  const list: Variant[] = [
    { name: "direct", url: `http://127.0.0.1:${direct.port}${path}`, readCpu: () => readTrees({ server: direct.child.pid }) },
    {
      name: "undici",
      url: `http://127.0.0.1:${gateway.port}${path}`,
      readCpu: () => readTrees({ gateway: gateway.child.pid, worker: worker.child.pid }),
    },
    { name: "ours", url: `http://127.0.0.1:${ours.port}${path}`, readCpu: () => readServerCpu(ours.child.pid) },
  ];
  const owned = started.move();
  return { list, ours, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function readTrees(roots: Record<string, number>): Record<string, number> {
  const processes = readProcesses();
  return Object.fromEntries(
    Object.entries(roots).map(([part, pid]) => {
      const { root, below } = treeSeconds(pid, processes);
      return [part, root + below];
    }),
  );
}

/** Below the server are its replicas, with the sandboxes around them. */
export function readServerCpu(pid: number): Record<string, number> {
  const { root, below } = treeSeconds(pid, readProcesses());
  return { gateway: root, replicas: below };
}
