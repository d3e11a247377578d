/** Claims younger than this make a pool as large as they are many. */
export const CLAIM_WINDOW_MS = 30_000;

export interface PoolSizeInput {
  /** Waiting pods at least. */
  minSize: number;
  /** And at most, however fast they are claimed. */
  maxSize: number;
  /** When pods were claimed lately, oldest first. */
  claimsMs: readonly number[];
}

/** How many pods of a class should wait: as many as were claimed within the window, as starting one takes a second. */
export function decidePoolSize({ minSize, maxSize, claimsMs }: PoolSizeInput, nowMs: number): number {
  const recent = claimsMs.filter((atMs) => atMs > nowMs - CLAIM_WINDOW_MS).length;
  return Math.max(minSize, Math.min(recent, maxSize));
}
