import { BubblewrapSandbox } from "./bubblewrap.ts";
import type { LaunchPrograms } from "./bubblewrap-command.ts";
import type { CgroupDriver } from "./cgroup.ts";
import { createCgroups, reapCgroups } from "./create-cgroups.ts";
import { findProgram } from "./find-program.ts";
import { closeInheritedDescriptors } from "./inherited-descriptors.ts";
import { type CompiledSandboxOptions, compileSandboxOptions, type SandboxOptions } from "./options.ts";
import { OutboundNetwork } from "./outbound-network.ts";
import { OwnerRecord, reapOwners } from "./owner.ts";
import { PlainSandbox } from "./plain.ts";
import type { Sandbox } from "./port.ts";
import { probe } from "./probe.ts";
import type { SeccompArchitecture } from "./seccomp.ts";
import { UidSlots } from "./uid-slots.ts";

const INSTALL_HINT = "install bubblewrap (Debian and Ubuntu: apt install bubblewrap) and allow user namespaces";

/** Cleans up after servers that were killed, then chooses the strongest driver that works here, as far as the mode allows it. */
export async function createSandbox(options: SandboxOptions): Promise<Sandbox> {
  const compiled = compileSandboxOptions(options);
  closeInheritedDescriptors();
  const abandoned = reapOwners(compiled.runtimeFolder);
  const owner = new OwnerRecord(compiled.runtimeFolder);
  if (compiled.mode === "plain") return new PlainSandbox(owner);
  const cgroups = compiled.memory === "polled" ? undefined : createCgroups(owner.name);
  await reapCgroups(abandoned.cgroups, cgroups);
  const made = await createBubblewrap(compiled, owner, cgroups);
  if (typeof made !== "string") return made;
  if (compiled.mode === "require") {
    owner.remove();
    throw new Error(`The sandbox can't be had: ${made}. Start with --sandbox=auto to go on without it, or ${INSTALL_HINT}`);
  }
  compiled.log.warn({ reason: made }, `functions run as plain processes, not isolated: ${INSTALL_HINT}`);
  return new PlainSandbox(owner);
}

/** The sandbox that works, or why there is none. */
async function createBubblewrap(
  options: CompiledSandboxOptions,
  owner: OwnerRecord,
  cgroups: CgroupDriver | undefined,
): Promise<BubblewrapSandbox | string> {
  const programs = findPrograms();
  const architecture = process.arch;
  if (programs === undefined) return "bwrap, nsenter, env or sh is not installed";
  if (!isKnownArchitecture(architecture)) return `there is no system call filter for ${architecture}`;
  const slots = options.runAsRoot ? new UidSlots(options.uidRange) : undefined;
  const network = await createNetwork(options, owner, slots);
  const parts = { programs, architecture, owner, network, slots };
  const bounded = new BubblewrapSandbox(options, { ...parts, cgroups });
  const problem = await probe(bounded);
  if (problem === undefined) {
    if (cgroups !== undefined) owner.noteCgroups(cgroups.parents);
    await bounded.removeUnusedStages(Date.now());
    return bounded;
  }
  if (cgroups === undefined) {
    await network?.stop();
    return problem;
  }
  options.log.warn({ reason: problem }, "control groups can't be used: memory is polled");
  return createBubblewrap({ ...options, memory: "polled" }, owner, undefined);
}

function isKnownArchitecture(name: string): name is SeccompArchitecture {
  return name === "x64" || name === "arm64";
}

function findPrograms(): LaunchPrograms | undefined {
  const [shell, bubblewrap, nsenter, env] = ["sh", "bwrap", "nsenter", "env"].map(findProgram);
  if (shell === undefined || bubblewrap === undefined || nsenter === undefined || env === undefined) return undefined;
  return { shell, bubblewrap, nsenter, env, prlimit: findProgram("prlimit") };
}

async function createNetwork(
  options: CompiledSandboxOptions,
  owner: OwnerRecord,
  slots: UidSlots | undefined,
): Promise<OutboundNetwork | undefined> {
  const uid = slots?.acquire();
  for (const helper of ["pasta", "slirp4netns"] as const) {
    if (options.network !== "auto" && options.network !== helper) continue;
    if (findProgram(helper) === undefined || findProgram("ip") === undefined) continue;
    const network = new OutboundNetwork({ helper, uid, owner, log: options.log });
    try {
      await network.start();
      return network;
    } catch (error) {
      options.log.warn({ helper, reason: error instanceof Error ? error.message : String(error) }, "a network helper does not work here");
    }
  }
  if (uid !== undefined) slots?.release(uid);
  options.log.warn({}, "functions share the host's network, its loopback included: install passt or slirp4netns, and iproute2");
  return undefined;
}
