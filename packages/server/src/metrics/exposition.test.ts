import assert from "node:assert/strict";
import { test } from "node:test";
import { renderExposition, type ScrapeInput } from "./exposition.ts";
import { FunctionCounters } from "./function-counters.ts";
import { formatSample } from "./prometheus-text.ts";

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the text format by its grammar, strictly, knowing nothing of how it was written. */
function parseText(text: string): { types: Map<string, string>; samples: Sample[] } {
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const samples: Sample[] = [];
  const closed = new Set<string>();
  let current = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (current !== name) closed.add(current);
      assert.ok(!closed.has(name), `${name} is in one block`);
      current = name;
      if (kind === "HELP") {
        assert.ok(!helped.has(name));
        helped.add(name);
      } else {
        assert.match(rest, /^(counter|gauge|histogram)$/);
        assert.ok(!types.has(name));
        types.set(name, rest);
      }
      continue;
    }
    const sample = parseSample(line);
    const family = types.get(current) === "histogram" ? sample.name.replace(/_(bucket|sum|count)$/, "") : sample.name;
    assert.equal(family, current, `${line} stands below its own TYPE`);
    samples.push(sample);
  }
  assert.deepEqual([...helped], [...types.keys()]);
  return { types, samples };
}

function parseSample(line: string): Sample {
  let at = 0;
  const take = (pattern: RegExp): string => {
    const sticky = new RegExp(pattern.source, "y");
    sticky.lastIndex = at;
    const found = sticky.exec(line);
    assert.ok(found !== null, `at ${at} of ${line}`);
    at = sticky.lastIndex;
    return found[0];
  };
  const name = take(/[a-zA-Z_:][a-zA-Z0-9_:]*/);
  const labels: Record<string, string> = {};
  if (line[at] === "{") {
    do {
      at++;
      const label = take(/[a-zA-Z_][a-zA-Z0-9_]*/);
      take(/="/);
      const raw = take(/(?:[^"\\]|\\["\\n])*/);
      assert.ok(!(label in labels));
      labels[label] = raw.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
      take(/"/);
    } while (line[at] === ",");
    take(/\}/);
  }
  take(/ /);
  const number = take(/\S+$/);
  const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
  assert.ok(number === "NaN" || !Number.isNaN(value), number);
  return { name, labels, value };
}

function input(changes: Partial<ScrapeInput> = {}): ScrapeInput {
  return { version: "0.1.0", functions: [], pools: [], degraded: [], taskFailures: new Map(), ...changes };
}

function scrape(given: ScrapeInput) {
  const parsed = parseText([...renderExposition(given)].join(""));
  const value = (name: string, labels: Record<string, string> = {}) =>
    parsed.samples.find((each) => each.name === name && Object.entries(labels).every(([key, text]) => each.labels[key] === text))?.value;
  return { ...parsed, value };
}

test("a called function's figures, by name", () => {
  const counters = new FunctionCounters();
  counters.record(3, 1_024, undefined, 1_700_000_000_500);
  counters.record(100_000, 1_024, "TIMEOUT", 1_700_000_001_500);
  counters.recordColdStart({ queueMs: 0, startMs: 40, loadMs: 2 });
  const { value, types } = scrape(input({ functions: [{ name: "hello", counters, replicas: 2, inFlight: 1, queued: 7 }] }));
  const of = { function: "hello" };
  assert.equal(value("kube_serverless_invocations_total", of), 2);
  assert.equal(value("kube_serverless_errors_total", { ...of, code: "TIMEOUT" }), 1);
  assert.equal(value("kube_serverless_cold_starts_total", of), 1);
  assert.equal(value("kube_serverless_replicas", of), 2);
  assert.equal(value("kube_serverless_in_flight", of), 1);
  assert.equal(value("kube_serverless_queued", of), 7);
  assert.equal(value("kube_serverless_last_invocation_timestamp_seconds", of), 1_700_000_001.5);
  assert.ok(Math.abs(value("kube_serverless_memory_gb_seconds_total", of)! - 100.003) < 1e-9);
  assert.equal(types.get("kube_serverless_invocation_duration_seconds"), "histogram");
  assert.equal(value("kube_serverless_invocation_duration_seconds_bucket", { ...of, le: "0.002048" }), 0);
  assert.equal(value("kube_serverless_invocation_duration_seconds_bucket", { ...of, le: "0.004096" }), 1);
  assert.equal(value("kube_serverless_invocation_duration_seconds_bucket", { ...of, le: "+Inf" }), 2);
  assert.equal(value("kube_serverless_cold_start_phase_seconds_bucket", { ...of, phase: "start", le: "0.032768" }), 0);
  assert.equal(value("kube_serverless_cold_start_phase_seconds_bucket", { ...of, phase: "start", le: "0.065536" }), 1);
  assert.equal(value("kube_serverless_cold_start_phase_seconds_sum", { ...of, phase: "load" }), 0.002);
});

test("histograms count upwards and end with all", () => {
  const counters = new FunctionCounters();
  for (let i = 1; i < 500; i++) counters.record(i * i, 256, undefined, 1);
  for (let i = 1; i < 50; i++) counters.recordColdStart({ queueMs: 0, startMs: i, loadMs: i * i });
  const { samples } = scrape(input({ functions: [{ name: "f", counters, replicas: 0, inFlight: 0, queued: 0 }] }));
  const groups = Map.groupBy(
    samples.filter(({ name }) => name.endsWith("_bucket")),
    ({ name, labels }) => `${name} ${labels.phase ?? ""}`,
  );
  assert.equal(groups.size, 4);
  for (const [group, buckets] of groups) {
    const bounds = buckets.map(({ labels }) => (labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le)));
    assert.deepEqual(
      bounds,
      bounds.toSorted((a, b) => a - b),
      group,
    );
    const counts = buckets.map(({ value }) => value);
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
      group,
    );
    assert.equal(counts.at(-1), group.startsWith("kube_serverless_invocation") ? 499 : 49);
  }
});

test("a function that was never called shows zeros, and the platform its own figures", () => {
  const { value } = scrape(
    input({
      functions: [{ name: "cold", counters: undefined, replicas: 0, inFlight: 0, queued: 0 }],
      pools: [{ runtime: "nodejs18", memoryMiB: 256, waiting: 3, target: 4, pssMiB: 24 }],
      degraded: ["sandbox-plain"],
      taskFailures: new Map([["metrics flush", 2]]),
    }),
  );
  assert.equal(value("kube_serverless_invocations_total", { function: "cold" }), 0);
  assert.equal(value("kube_serverless_pool_waiting_replicas", { runtime: "nodejs18", memory_mib: "256" }), 3);
  assert.equal(value("kube_serverless_pool_memory_bytes", { runtime: "nodejs18" }), 24 * 1_048_576);
  assert.equal(value("kube_serverless_degraded", { reason: "sandbox-plain" }), 1);
  assert.equal(value("kube_serverless_task_failures_total", { task: "metrics flush" }), 2);
  assert.equal(value("kube_serverless_functions"), 1);
  assert.equal(value("kube_serverless_build_info", { version: "0.1.0" }), 1);
  assert.ok(value("process_resident_memory_bytes")! > 1e6);
  assert.ok(value("process_cpu_seconds_total")! > 0);
});

test("labels are escaped", () => {
  const nasty = 'a"b\\c\nd';
  assert.deepEqual(parseSample(formatSample("m", { x: nasty }, 1).trimEnd()), { name: "m", labels: { x: nasty }, value: 1 });
});
