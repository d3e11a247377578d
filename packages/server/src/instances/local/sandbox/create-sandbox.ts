import { closeInheritedDescriptors } from "./inherited-descriptors.ts";
import { compileSandboxOptions, type SandboxOptions } from "./options.ts";
import { PlainSandbox } from "./plain.ts";
import type { Sandbox } from "./port.ts";

/** Chooses the strongest driver that works here, as far as the mode allows it. */
export async function createSandbox(options: SandboxOptions): Promise<Sandbox> {
  const compiled = compileSandboxOptions(options);
  closeInheritedDescriptors();
  return new PlainSandbox(compiled);
}
