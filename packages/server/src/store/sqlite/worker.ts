import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { armFailpoint } from "../../failpoint.ts";
import { type EngineOptions, StoreEngine } from "./engine.ts";
import type { StoreModule } from "./module.ts";
import { type FromWorker, packError, type Request, type ToWorker } from "./protocol.ts";

/** What the client starts this thread with. */
export interface WorkerOptions extends EngineOptions {
  /** URLs of files that export `storeModule`. */
  modules: string[];
  failpoint?: string | undefined;
}

// More requests than this in one transaction gain nothing and make the first of them wait.
const MAX_GROUP = 512;

const port = parentPort as MessagePort;
const options = workerData as WorkerOptions;

function send(message: FromWorker): void {
  port.postMessage(message);
}

async function loadModules(urls: readonly string[]): Promise<StoreModule[]> {
  const loaded = await Promise.all(urls.map((url) => import(url) as Promise<{ storeModule: StoreModule }>));
  return loaded.map(({ storeModule }) => storeModule);
}

/** What has arrived by now, so that it shares one commit. */
function drain(first: ToWorker): { requests: Request[]; stop: boolean } {
  const requests: Request[] = [];
  for (let message: ToWorker | undefined = first; message !== undefined; ) {
    if (message.kind === "stop") return { requests, stop: true };
    requests.push(...message.requests);
    message = requests.length < MAX_GROUP ? receiveMessageOnPort(port)?.message : undefined;
  }
  return { requests, stop: false };
}

function serve(engine: StoreEngine): void {
  port.on("message", (message: ToWorker) => {
    const { requests, stop } = drain(message);
    if (requests.length > 0) engine.handle(requests);
    if (!stop) return;
    engine.stop();
    port.close();
  });
}

armFailpoint(options.failpoint);
try {
  const modules = await loadModules(options.modules);
  serve(new StoreEngine(options, modules, send));
  send({ kind: "ready" });
} catch (error) {
  send({ kind: "failed", error: packError(error) });
  port.close();
}
