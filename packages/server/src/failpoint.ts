let armed: { name: string; remaining: number } | undefined;

/**
 * Arms one failpoint of this thread: `name:count` ends the process by SIGKILL at the count-th pass.
 * A worker thread is armed apart from the main one, as each has its own copy of this module.
 */
export function armFailpoint(setting: string | undefined): void {
  if (setting === undefined || setting === "") {
    armed = undefined;
    return;
  }
  const match = /^([a-z][a-z0-9.-]*):([1-9][0-9]{0,8})$/.exec(setting);
  if (match === null) throw new Error(`A failpoint is written as name:count, such as store.before-commit:3; this is not one: ${setting}`);
  armed = { name: match[1] as string, remaining: Number(match[2]) };
}

/** A named place where tests let the process die, as a power cut or the kernel's out-of-memory killer would; otherwise does nothing. */
export function failpoint(name: string): void {
  if (armed === undefined || armed.name !== name) return;
  armed.remaining -= 1;
  if (armed.remaining === 0) process.kill(process.pid, "SIGKILL");
}
