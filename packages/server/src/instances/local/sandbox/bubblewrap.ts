import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildBubblewrapArguments, buildLaunchCommand, type LaunchPrograms } from "./bubblewrap-command.ts";
import { BubblewrapProcess } from "./bubblewrap-process.ts";
import type { Cgroup, CgroupDriver } from "./cgroup.ts";
import { giveAway } from "./give-away.ts";
import { LiveProcesses } from "./live-processes.ts";
import { MemoryPoller } from "./memory-poller.ts";
import type { CompiledSandboxOptions } from "./options.ts";
import type { OutboundNetwork } from "./outbound-network.ts";
import type { OwnerRecord } from "./owner.ts";
import type { Sandbox, SandboxedProcess, SandboxSpec, SandboxStrength } from "./port.ts";
import { buildSeccompProgram, encodeSeccompProgram, type SeccompArchitecture } from "./seccomp.ts";
import { Staging } from "./staging.ts";
import { createSystemFiles, type SystemFiles } from "./system-files.ts";
import { UidSlots } from "./uid-slots.ts";

export interface BubblewrapParts {
  programs: LaunchPrograms;
  architecture: SeccompArchitecture;
  owner: OwnerRecord;
  cgroups: CgroupDriver | undefined;
  /** Undefined where the host's network is shared. */
  network: OutboundNetwork | undefined;
  /** Where the server is root. */
  slots: UidSlots | undefined;
}

/** Replicas in namespaces of their own, with nothing of the host but its programs and libraries. */
export class BubblewrapSandbox implements Sandbox {
  readonly sharedFolder: string;
  readonly #options: CompiledSandboxOptions;
  readonly #parts: BubblewrapParts;
  readonly #staging: Staging;
  readonly #system: SystemFiles;
  readonly #seccompFile: string;
  readonly #poller = new MemoryPoller();
  readonly #processes = new LiveProcesses();

  constructor(options: CompiledSandboxOptions, parts: BubblewrapParts) {
    this.#options = options;
    this.#parts = parts;
    this.#staging = new Staging({ folder: join(options.cacheFolder, "stage"), otherUsers: parts.slots !== undefined });
    this.#system = createSystemFiles(join(parts.owner.folder, "etc"), parts.network === undefined ? "host" : [parts.network.nameserver]);
    this.#seccompFile = join(parts.owner.folder, "seccomp.bpf");
    writeFileSync(this.#seccompFile, encodeSeccompProgram(buildSeccompProgram(parts.architecture)));
    this.sharedFolder = join(parts.owner.folder, "shared");
    mkdirSync(this.sharedFolder, { recursive: true });
    chmodSync(this.sharedFolder, 0o755);
  }

  get strength(): SandboxStrength {
    const { network, cgroups } = this.#parts;
    const degraded: string[] = [];
    if (network === undefined) degraded.push("network-host");
    else if (!network.isUp) degraded.push("network-down");
    if (cgroups === undefined) degraded.push("memory-polled");
    return { driver: "bubblewrap", network: network?.helper ?? "host", memory: cgroups?.kind ?? "polled", degraded };
  }

  stage(source: string): Promise<{ source: string; target: string }> {
    return this.#staging.stage(source);
  }

  async removeUnusedStages(nowMs: number): Promise<void> {
    await this.#staging.removeUnused(nowMs);
  }

  spawn(spec: SandboxSpec): Promise<SandboxedProcess> {
    return this.#processes.start(() => this.#spawn(spec));
  }

  async #spawn(spec: SandboxSpec): Promise<SandboxedProcess> {
    const uid = this.#parts.slots?.acquire();
    const maxProcesses = spec.maxProcesses ?? this.#options.maxProcesses;
    let cgroup: Cgroup | undefined;
    const release = async () => {
      await cgroup?.remove();
      if (uid !== undefined) this.#parts.slots?.release(uid);
    };
    try {
      cgroup = this.#parts.cgroups?.create(spec.id, { memoryMiB: spec.memoryMiB, maxProcesses });
      if (uid !== undefined) await giveAway(spec.binds, uid);
      return await BubblewrapProcess.start({
        id: spec.id,
        command: this.#buildCommand(spec, uid, cgroup, maxProcesses),
        arguments: this.#buildArguments(spec),
        seccompFile: this.#seccompFile,
        input: spec.input,
        memoryMiB: spec.memoryMiB,
        cgroup,
        poller: this.#poller,
        release,
      });
    } catch (error) {
      await release();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#processes.endAll();
    await this.#parts.network?.stop();
    this.#parts.cgroups?.close();
    this.#parts.owner.remove();
    rmSync(this.sharedFolder, { recursive: true, force: true });
  }

  #buildCommand(spec: SandboxSpec, uid: number | undefined, cgroup: Cgroup | undefined, maxProcesses: number): string[] {
    const { programs, network, cgroups } = this.#parts;
    return buildLaunchCommand({
      programs,
      command: spec.command,
      uid,
      networkOf: spec.network === "outbound" ? network?.holderPid : undefined,
      joinFiles: cgroup?.joinFiles ?? [],
      maxProcesses: cgroups?.boundsProcesses === true ? undefined : maxProcesses,
    });
  }

  #buildArguments(spec: SandboxSpec): string[] {
    return buildBubblewrapArguments({
      environment: spec.environment,
      ownNetwork: spec.network === "none",
      tmpMiB: this.#options.tmpMiB,
      system: this.#system.argumentsFor(spec.network),
      // What is staged from /usr is there already.
      binds: spec.binds.filter(({ source, target }) => source !== target || !source.startsWith("/usr/")),
      workFolder: spec.workFolder ?? "/tmp",
    });
  }
}
