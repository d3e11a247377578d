/** Bodies that the document shows; a test holds them to their schemas. */
export const SPEC_EXAMPLE = {
  name: "my-function",
  runtime: "nodejs18",
  handler: "index.handler",
  code: "module.exports.handler = async (event) => { return { statusCode: 200, body: 'Hello!' }; };",
  environment: { VAR1: "value1" },
  minReplicas: 0,
  maxReplicas: 10,
  triggers: [{ type: "http", config: { path: "/my-function" } }],
};

const IDENTITY_EXAMPLE = { uid: "01kc0f3v9d8m", createdAt: "2026-01-15T10:29:58.000Z", generation: 1, revision: 1 };

const STATUS_EXAMPLE = {
  state: "running",
  replicas: 1,
  readyReplicas: 1,
  endpoint: "my-function.kube-serverless.svc.cluster.local",
  lastDeployment: "2026-01-15T10:30:00.000Z",
  lastInvocation: "2026-01-15T10:31:12.000Z",
  revision: 1,
  observedGeneration: 1,
  runtimeVersion: "18.20.8",
};

const { code, ...SPEC_WITHOUT_CODE } = SPEC_EXAMPLE;
const DEFAULTS_EXAMPLE = { timeout: 30, memory: 256, concurrency: 100, network: "outbound" };

export const SUMMARY_EXAMPLE = { ...SPEC_WITHOUT_CODE, ...DEFAULTS_EXAMPLE, ...IDENTITY_EXAMPLE, status: STATUS_EXAMPLE };

export const FUNCTION_EXAMPLE = { ...SUMMARY_EXAMPLE, code };

export const DEPLOYED_EXAMPLE = {
  name: "my-function",
  runtime: "nodejs18",
  handler: "index.handler",
  status: { state: "deploying" },
  uid: IDENTITY_EXAMPLE.uid,
  generation: 1,
  revision: 1,
};

export const METRICS_EXAMPLE = {
  invocations: 1523,
  coldStarts: 12,
  avgDuration: 0.234,
  errorRate: 0.02,
  costEstimate: 0.15,
  p50: 0.2,
  p95: 0.5,
  p99: 0.9,
  coldStartAvg: 0.003,
  inFlight: 1,
  replicas: 2,
  lastInvocation: "2026-01-15T10:31:12.000Z",
  errors: { TIMEOUT: 2, FUNCTION_ERROR: 28 },
};

export const LOG_EXAMPLE = {
  time: "2026-01-15T10:31:12.345Z",
  stream: "stdout",
  requestId: "b1f6a3c0-8a1e-4a6b-9a53-1f2b1d9c7a10",
  replica: "my-function-1-a",
  revision: 1,
  message: "hello from the function",
};

export const SCALING_EXAMPLE = {
  replicas: 1,
  desired: 1,
  min: 0,
  max: 10,
  inFlight: 1,
  queued: 0,
  decisions: [{ time: "2026-01-15T10:31:12.000Z", from: 0, to: 1, reason: "poke", inFlight: 0, queued: 1 }],
};

export const CRON_EXAMPLE = {
  triggers: [{ schedule: "0 7 * * MON-FRI", timezone: "Europe/Kyiv", nextPlannedAt: "2026-01-16T05:00:00.000Z" }],
  runs: [
    {
      schedule: "0 7 * * MON-FRI",
      timezone: "Europe/Kyiv",
      plannedAt: "2026-01-15T05:00:00.000Z",
      state: "succeeded",
      requestId: "0d6c1f5e-7b1f-4a86-9a55-3c2f9f0a6b11",
    },
    {
      schedule: "0 7 * * MON-FRI",
      timezone: "Europe/Kyiv",
      plannedAt: "2026-01-14T05:00:00.000Z",
      state: "failed",
      requestId: "7a4e8a52-5d3b-4a0c-8a0e-1f7b2f6d9c02",
      code: "FUNCTION_ERROR",
      error: "Internal server error: the report is empty",
    },
  ],
};

export const RUNTIME_EXAMPLE = { name: "nodejs18", language: "nodejs", version: "18.20.8", exact: true, available: true, hint: "" };
