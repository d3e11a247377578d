import { KsError } from "@kube-serverless/contracts/error";
import type { SandboxedProcess } from "./port.ts";

/** The processes of a sandbox, those included that are just being started, so that its stop leaves none behind. */
export class LiveProcesses {
  readonly #alive = new Set<SandboxedProcess>();
  readonly #starting = new Set<Promise<SandboxedProcess>>();
  #isStopped = false;

  /** @throws KsError `DRAINING` once all are being ended */
  async start(spawn: () => Promise<SandboxedProcess>): Promise<SandboxedProcess> {
    if (this.#isStopped) throw new KsError("DRAINING");
    const starting = this.#startAndNote(spawn);
    this.#starting.add(starting);
    return starting.finally(() => this.#starting.delete(starting));
  }

  async endAll(): Promise<void> {
    this.#isStopped = true;
    await Promise.allSettled(this.#starting);
    const exits = [...this.#alive].map((process) => {
      process.kill();
      return process.exited;
    });
    await Promise.all(exits);
  }

  async #startAndNote(spawn: () => Promise<SandboxedProcess>): Promise<SandboxedProcess> {
    const process = await spawn();
    this.#alive.add(process);
    void process.exited.then(() => this.#alive.delete(process));
    return process;
  }
}
