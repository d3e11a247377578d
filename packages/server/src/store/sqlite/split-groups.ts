// What one transaction may add to the log, beyond a single request that is larger by itself; the ballast must hold a whole log.
const MAX_GROUP_BYTES = 4 * 1024 * 1024;
const MAX_DEPTH = 3;

/** Cuts requests, in order, into groups of bounded size that each share a transaction. */
export function splitGroups<Item extends { args: unknown }>(items: readonly Item[], maxBytes = MAX_GROUP_BYTES): Item[][] {
  const groups: Item[][] = [];
  let group: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = weigh(item.args, MAX_DEPTH);
    if (group.length > 0 && bytes + size > maxBytes) {
      groups.push(group);
      group = [];
      bytes = 0;
    }
    group.push(item);
    bytes += size;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/** Roughly the bytes that arguments bring into the file: texts and buffers, at any place that is not nested deeply. */
function weigh(value: unknown, depth: number): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 8;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (depth === 0) return 0;
  let bytes = 0;
  for (const part of Object.values(value)) bytes += weigh(part, depth - 1);
  return bytes;
}
