/** `trigger` of an event: what made the call. */
export type TriggerInfo =
  | { type: "invoke" }
  | { type: "http" }
  | { type: "cron"; schedule: string; plannedAt: string }
  | { type: "queue"; queue: string; exchange: string; messageId: string; attempt: number; redelivered: boolean };

export interface FunctionMetrics {
  invocations: number;
  coldStarts: number;
  /** Seconds. */
  avgDuration: number;
  /** 0 to 1. */
  errorRate: number;
  /** US dollars. */
  costEstimate: number;
  p50: number;
  p95: number;
  p99: number;
  coldStartAvg: number;
  inFlight: number;
  replicas: number;
  lastInvocation: string | null;
  errors: Record<string, number>;
}

/** One line of a function's log. */
export interface LogEntry {
  /** ISO 8601 with milliseconds. */
  time: string;
  stream: "stdout" | "stderr" | "system";
  requestId: string | null;
  replica: string;
  revision: number;
  message: string;
  truncated?: boolean;
  /** How many entries had to be dropped here. */
  dropped?: number;
}
