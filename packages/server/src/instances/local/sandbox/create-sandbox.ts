import { KsError } from "@kube-serverless/contracts/error";
import { BubblewrapSandbox } from "./bubblewrap.ts";
import type { LaunchPrograms } from "./bubblewrap-command.ts";
import type { CgroupDriver } from "./cgroup.ts";
import { createCgroups, reapCgroups } from "./create-cgroups.ts";
import { isReachableByAll } from "./staging.ts";
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
  if (compiled.mode === "plain") {
    await reapCgroups(abandoned.cgroups, undefined);
    return new PlainSandbox(owner);
  }
  const cgroups = compiled.memory === "polled" ? undefined : createCgroups(owner.name);
  await reapCgroups(abandoned.cgroups, cgroups);
  const made = await createBubblewrap(compiled, owner, cgroups);
  if (made instanceof BubblewrapSandbox) return made;
  if (compiled.mode === "require") {
    owner.remove();
    const message = `The sandbox can't be had: ${made.problem}. Start with --sandbox=auto to go on without it, or ${INSTALL_HINT}`;
    throw new KsError("INTERNAL", { message });
  }
  compiled.log.warn({ reason: made.problem }, `functions run as plain processes, not isolated: ${INSTALL_HINT}`);
  return new PlainSandbox(owner);
}

async function createBubblewrap(
  options: CompiledSandboxOptions,
  owner: OwnerRecord,
  cgroups: CgroupDriver | undefined,
): Promise<BubblewrapSandbox | { problem: string }> {
  const programs = findPrograms();
  const architecture = process.arch;
  if (programs === undefined) return { problem: "bwrap, nsenter, env or sh is not installed" };
  if (!isKnownArchitecture(architecture)) return { problem: `there is no system call filter for ${architecture}` };
  const slots = options.runAsRoot ? new UidSlots(options.uidRange) : undefined;
  if (slots !== undefined && !isReachableByAll(owner.folder)) {
    return { problem: `other users can't enter the runtime folder ${options.runtimeFolder}, choose another one` };
  }
  if (cgroups !== undefined) owner.noteCgroups(cgroups.parents);
  const network = await createNetwork(options, owner, slots);
  const parts = { programs, architecture, owner, network, slots };
  const made = await firstThatWorks(
    [cgroups, ...(cgroups === undefined ? [] : [undefined])].map((bound) => new BubblewrapSandbox(options, { ...parts, cgroups: bound })),
    options,
  );
  if (made instanceof BubblewrapSandbox) {
    await made.removeUnusedStages(Date.now());
    return made;
  }
  await network?.stop();
  cgroups?.close();
  return made;
}

/** With control groups where they can be had, else without. */
async function firstThatWorks(
  candidates: readonly BubblewrapSandbox[],
  options: CompiledSandboxOptions,
): Promise<BubblewrapSandbox | { problem: string }> {
  let problem = "";
  for (const candidate of candidates) {
    const found = await probe(candidate);
    if (found === undefined) return candidate;
    problem = found;
    if (candidate.strength.memory !== "polled") options.log.warn({ reason: found }, "control groups can't be used");
  }
  return { problem };
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
  if (options.network === "host") return undefined;
  options.log.warn({}, "functions share the host's network, its loopback included: install passt or slirp4netns, and iproute2");
  return undefined;
}
