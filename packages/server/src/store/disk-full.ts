import { KsError } from "@kube-serverless/contracts/error";

/** True for what Node.js throws when a disk, or a quota on it, is full. */
export function isNoSpace(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOSPC" || code === "EDQUOT";
}

export function diskFullError(folder: string, cause?: unknown): KsError {
  return new KsError("STORE_UNAVAILABLE", {
    message: `The disk is full: free space on the disk of ${folder}, or delete functions; writing goes on by itself then`,
    retryAfterMs: 5000,
    cause,
  });
}
