/** The fields of a spec whose change needs new replicas; the code is compared apart. */
export const REVISION_FIELDS = ["runtime", "handler", "environment", "memory", "concurrency", "timeout", "network"] as const;

/** Canonical JSON, so that the order of keys is no difference. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
