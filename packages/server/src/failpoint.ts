let armed: { name: string; remaining: number; pauseMs: number } | undefined;

/**
 * Arms one failpoint of this thread: `name:count` ends the process by SIGKILL at the count-th pass. With `name:count:ms` the
 * thread stands still for so long before: whatever should have waited for it, and did not, gets out meanwhile.
 * A worker thread is armed apart from the main one, as each has its own copy of this module.
 */
export function armFailpoint(setting: string | undefined): void {
  if (setting === undefined || setting === "") {
    armed = undefined;
    return;
  }
  const match = /^([a-z][A-Za-z0-9.-]*):([1-9][0-9]{0,8})(?::([0-9]{1,5}))?$/.exec(setting);
  if (match === null)
    throw new Error(`A failpoint is written as name:count or name:count:ms, such as store.before-commit:3; this is not one: ${setting}`);
  armed = { name: match[1] as string, remaining: Number(match[2]), pauseMs: Number(match[3] ?? 0) };
}

/** A named place where tests let the process die, as a power cut or the kernel's out-of-memory killer would; otherwise does nothing. */
export function failpoint(name: string): void {
  if (armed === undefined || armed.name !== name) return;
  armed.remaining -= 1;
  if (armed.remaining > 0) return;
  if (armed.pauseMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, armed.pauseMs);
  process.kill(process.pid, "SIGKILL");
}
