import type { BenchContext } from "../context.ts";
import { watchForeignLoad } from "../system/foreign-load.ts";

/** One round that counts. */
export interface Round<T> {
  value: T;
  /** What others used meanwhile, as a part of one core. */
  foreignLoad: number;
}

export interface Rounds<T> {
  kept: Round<T>[];
  /** Foreign load of each round that was thrown away. */
  discarded: number[];
}

/**
 * Measures `count` rounds, each on a quiet machine; one with too much foreign load is thrown away and repeated.
 * @throws when as many again had to be thrown away
 */
export async function measureRounds<T>(
  { quiet, progress }: BenchContext,
  what: string,
  count: number,
  measure: (round: number) => Promise<T>,
): Promise<Rounds<T>> {
  const rounds: Rounds<T> = { kept: [], discarded: [] };
  for (let attempt = 0; rounds.kept.length < count; attempt++) {
    progress.step(`${what}, round ${rounds.kept.length + 1} of ${count}`);
    await quiet.waitForQuiet();
    const end = watchForeignLoad();
    const value = await measure(attempt);
    const foreignLoad = end();
    if (quiet.accepts(foreignLoad)) {
      rounds.kept.push({ value, foreignLoad });
      continue;
    }
    rounds.discarded.push(foreignLoad);
    progress.note(`${what}: a round was thrown away, others used ${Math.round(foreignLoad * 100)} % of a core`);
    if (rounds.discarded.length > count) throw new Error(`${what}: too many rounds were disturbed; the machine is not quiet`);
  }
  return rounds;
}

/** Every item, beginning at another one each round, and backwards every other time round: no place in the order favours any. */
export function alternate<T>(items: readonly T[], round: number): T[] {
  const from = round % items.length;
  const turned = [...items.slice(from), ...items.slice(0, from)];
  return Math.floor(round / items.length) % 2 === 0 ? turned : turned.toReversed();
}
