/** Prometheus' text format, version 0.0.4. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

export type MetricType = "counter" | "gauge" | "histogram";

/** `# HELP` and `# TYPE`, which stand once before all samples of a metric. */
export function formatHeader(name: string, type: MetricType, help: string): string {
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
}

export function formatSample(name: string, labels: Labels, value: number): string {
  return `${name}${formatLabels(labels)} ${formatNumber(value)}\n`;
}

/** A histogram's samples: `counts` are cumulative, one for each of `upperBounds`; `count` is the one for all. */
export function formatHistogram(
  name: string,
  labels: Labels,
  histogram: { upperBounds: readonly number[]; counts: readonly number[]; count: number; sum: number },
): string {
  let text = "";
  histogram.upperBounds.forEach((bound, index) => {
    text += formatSample(`${name}_bucket`, { ...labels, le: formatNumber(bound) }, histogram.counts[index] ?? 0);
  });
  text += formatSample(`${name}_bucket`, { ...labels, le: "+Inf" }, histogram.count);
  return text + formatSample(`${name}_sum`, labels, histogram.sum) + formatSample(`${name}_count`, labels, histogram.count);
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels);
  if (pairs.length === 0) return "";
  return `{${pairs.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(",")}}`;
}

function formatNumber(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
