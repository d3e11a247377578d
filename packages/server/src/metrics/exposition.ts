import { countBelowOctave } from "./duration-buckets.ts";
import { COLD_START_PHASES, DEFAULT_PRICES, type FunctionCounters, type LiveFigures, type Prices } from "./function-counters.ts";
import { readProcessFigures, type ProcessFigures } from "./process-figures.ts";
import { formatHeader, formatHistogram, formatSample, type Labels, type MetricType } from "./prometheus-text.ts";

/** A function as it is scraped; `counters` are absent before its first call. */
export interface ScrapedFunction extends LiveFigures {
  name: string;
  counters: FunctionCounters | undefined;
  queued: number;
}

export interface ScrapedPool {
  runtime: string;
  memoryMiB: number;
  waiting: number;
  target: number;
  pssMiB: number;
}

export interface ScrapeInput {
  version: string;
  functions: readonly ScrapedFunction[];
  pools: readonly ScrapedPool[];
  /** What `/ready` names as degraded. */
  degraded: readonly string[];
  /** Failures of background work, by its name. */
  taskFailures: ReadonlyMap<string, number>;
  prices?: Prices;
  process?: ProcessFigures;
}

/** One metric: its samples of one scrape, a piece at a time. */
interface Metric {
  name: string;
  type: MetricType;
  help: string;
  samples(input: ScrapeInput): Iterable<string>;
}

// Octaves of microseconds: 0.5 ms to 134 s. Edges of the counters' own buckets, so that nothing is estimated.
const FIRST_OCTAVE = 9;
const LAST_OCTAVE = 27;
const OCTAVES = Array.from({ length: LAST_OCTAVE - FIRST_OCTAVE + 1 }, (_, index) => FIRST_OCTAVE + index);
const UPPER_BOUNDS = OCTAVES.map((octave) => 2 ** octave / 1e6);

const METRICS: readonly Metric[] = [
  perFunction("invocations_total", "counter", "Attempts of every trigger that were admitted.", (each) => each.counters?.invocations ?? 0),
  {
    name: "kube_serverless_errors_total",
    type: "counter",
    help: "Calls that failed or were refused, by error code.",
    *samples({ functions }) {
      for (const { name, counters } of functions) {
        if (counters === undefined) continue;
        for (const [code, times] of Object.entries(counters.errorsByCode())) {
          yield formatSample("kube_serverless_errors_total", { function: name, code }, times);
        }
      }
    },
  },
  perFunction(
    "cold_starts_total",
    "counter",
    "Calls that waited for a replica to be specialised or started.",
    (each) => each.counters?.coldStarts ?? 0,
  ),
  {
    name: "kube_serverless_invocation_duration_seconds",
    type: "histogram",
    help: "The handler's own time.",
    *samples({ functions }) {
      for (const { name, counters } of functions) if (counters !== undefined) yield durationHistogram(name, counters);
    },
  },
  {
    name: "kube_serverless_cold_start_phase_seconds",
    type: "histogram",
    help: "Where the time of cold starts went: queue, start, load.",
    *samples({ functions }) {
      for (const { name, counters } of functions) if (counters?.coldStartPhases !== undefined) yield phaseHistograms(name, counters);
    },
  },
  perFunction("memory_gb_seconds_total", "counter", "Configured memory times the handler's time.", (each) => each.counters?.gbSeconds ?? 0),
  {
    name: "kube_serverless_cost_estimate_usd_total",
    type: "counter",
    help: "What the calls would cost at the configured prices.",
    *samples({ functions, prices = DEFAULT_PRICES }) {
      for (const { name, counters } of functions) {
        const cost = counters === undefined ? 0 : counters.gbSeconds * prices.perGbSecond + counters.invocations * prices.perInvocation;
        yield formatSample("kube_serverless_cost_estimate_usd_total", { function: name }, cost);
      }
    },
  },
  {
    name: "kube_serverless_last_invocation_timestamp_seconds",
    type: "gauge",
    help: "When the last call ended.",
    *samples({ functions }) {
      for (const { name, counters } of functions) {
        if (counters === undefined || counters.lastInvocationMs === 0) continue;
        yield formatSample("kube_serverless_last_invocation_timestamp_seconds", { function: name }, counters.lastInvocationMs / 1_000);
      }
    },
  },
  perFunction("replicas", "gauge", "Replicas that accept new calls.", (each) => each.replicas),
  perFunction("in_flight", "gauge", "Calls within the function.", (each) => each.inFlight),
  perFunction("queued", "gauge", "Calls that wait for a place.", (each) => each.queued),
  perPool("pool_waiting_replicas", "Replicas that wait for their function.", (pool) => pool.waiting),
  perPool("pool_target_replicas", "How many are to wait.", (pool) => pool.target),
  perPool("pool_memory_bytes", "Memory of those that wait (proportional set size).", (pool) => pool.pssMiB * 1_048_576),
  {
    name: "kube_serverless_degraded",
    type: "gauge",
    help: "What is away or weaker than it should be.",
    *samples({ degraded }) {
      for (const reason of degraded) yield formatSample("kube_serverless_degraded", { reason }, 1);
    },
  },
  {
    name: "kube_serverless_task_failures_total",
    type: "counter",
    help: "Background work that failed.",
    *samples({ taskFailures }) {
      for (const [task, times] of taskFailures) yield formatSample("kube_serverless_task_failures_total", { task }, times);
    },
  },
  single("kube_serverless_functions", "gauge", "Functions that exist.", ({ functions }) => functions.length),
  single(
    "kube_serverless_build_info",
    "gauge",
    "The version that runs.",
    () => 1,
    ({ version }) => ({ version, node: process.version }),
  ),
  ofProcess("process_cpu_seconds_total", "counter", "CPU time of the server, user and system.", (figures) => figures.cpuSeconds),
  ofProcess("process_resident_memory_bytes", "gauge", "Resident memory of the server.", (figures) => figures.residentBytes),
  ofProcess("process_start_time_seconds", "gauge", "When the server started.", (figures) => figures.startedAtSeconds),
  ofProcess("nodejs_heap_size_used_bytes", "gauge", "JavaScript heap in use.", (figures) => figures.heapUsedBytes),
  ofProcess(
    "nodejs_eventloop_utilization",
    "gauge",
    "Part of the time since the start in which the event loop was busy.",
    (figures) => figures.loopUtilization,
  ),
];

/** The text of one scrape in pieces of one function or metric each, so that ten thousand functions need not be one string. */
export function* renderExposition(input: ScrapeInput): Generator<string> {
  const whole: ScrapeInput = { ...input, process: input.process ?? readProcessFigures() };
  for (const metric of METRICS) {
    yield formatHeader(metric.name, metric.type, metric.help);
    yield* metric.samples(whole);
  }
}

function durationHistogram(name: string, counters: FunctionCounters): string {
  const { count, sumSeconds } = counters.timed;
  const counts = OCTAVES.map((octave) => countBelowOctave(counters.durations, octave));
  const histogram = { upperBounds: UPPER_BOUNDS, counts, count, sum: sumSeconds };
  return formatHistogram("kube_serverless_invocation_duration_seconds", { function: name }, histogram);
}

function phaseHistograms(name: string, counters: FunctionCounters): string {
  return COLD_START_PHASES.map((phase, index) => {
    const buckets = counters.coldStartPhases![index]!;
    const counts = OCTAVES.map((octave) => buckets.subarray(0, octave + 1).reduce((sum, count) => sum + count, 0));
    const histogram = { upperBounds: UPPER_BOUNDS, counts, count: counters.coldStarts, sum: counters.phaseSumsUs[index]! / 1e6 };
    return formatHistogram("kube_serverless_cold_start_phase_seconds", { function: name, phase }, histogram);
  }).join("");
}

function perFunction(name: string, type: MetricType, help: string, read: (each: ScrapedFunction) => number): Metric {
  const full = `kube_serverless_${name}`;
  return {
    name: full,
    type,
    help,
    *samples({ functions }) {
      for (const each of functions) yield formatSample(full, { function: each.name }, read(each));
    },
  };
}

function perPool(name: string, help: string, read: (pool: ScrapedPool) => number): Metric {
  const full = `kube_serverless_${name}`;
  return {
    name: full,
    type: "gauge",
    help,
    *samples({ pools }) {
      for (const pool of pools) yield formatSample(full, { runtime: pool.runtime, memory_mib: String(pool.memoryMiB) }, read(pool));
    },
  };
}

function single(
  name: string,
  type: MetricType,
  help: string,
  read: (input: ScrapeInput) => number,
  labels: (input: ScrapeInput) => Labels = () => ({}),
): Metric {
  return {
    name,
    type,
    help,
    *samples(input) {
      yield formatSample(name, labels(input), read(input));
    },
  };
}

function ofProcess(name: string, type: MetricType, help: string, read: (figures: ProcessFigures) => number): Metric {
  return single(name, type, help, (input) => read(input.process!));
}
