import type { FunctionRegistry } from "../functions/registry.ts";
import type { ScrapedFunction } from "../metrics/exposition.ts";
import { readCounters, type SharedCounters } from "../metrics/shared-counters.ts";
import type { Gateways } from "./gateways.ts";
import { scrapedAs } from "./shared.ts";

interface ScrapeParts {
  registry: FunctionRegistry;
  gateways: Pick<Gateways, "isOwner" | "askAll">;
  counters: Pick<SharedCounters, "encoded">;
}

/** Counters are absent before the first call. */
type OwnedFunction = Omit<ScrapedFunction, "counters"> & { counters?: string | undefined };

/** Makes `/metrics` of the whole cluster: each gateway tells of the functions that it owns. */
export function createClusterScrape({ registry, gateways, counters }: ScrapeParts): () => Promise<ScrapedFunction[]> {
  const tell = (): OwnedFunction[] =>
    [...registry.entries()]
      .filter(({ stored }) => gateways.isOwner(stored.uid))
      .map((entry) => scrapedAs(entry, counters.encoded(entry.stored.uid)));
  const askAll = gateways.askAll("scrape", tell);
  return async () => {
    const told = new Map<string, ScrapedFunction>();
    // While owners change, two may tell of one function: the one who has counted more.
    for (const each of (await askAll("")).flat()) {
      const scraped = { ...each, counters: readCounters(each.counters) };
      const other = told.get(each.name);
      if (other === undefined || (scraped.counters?.invocations ?? 0) > (other.counters?.invocations ?? 0)) told.set(each.name, scraped);
    }
    return [...told.values()];
  };
}
