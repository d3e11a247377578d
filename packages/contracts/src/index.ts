export type { FunctionMetrics, LogEntry, TriggerInfo } from "./call.ts";
export { buildErrorBody, ERRORS, KsError } from "./error.ts";
export type { ErrorBody, ErrorCode, KsErrorOptions } from "./error.ts";
export { defaultConcurrency, FunctionSpec, MAX_CODE_BYTES } from "./function.ts";
export type { FunctionState, FunctionStatus } from "./function.ts";
export { buildEndpoint, ENDPOINT_SUFFIX, FunctionName } from "./name.ts";
export { languageOf, Runtime } from "./runtime.ts";
export type { Language, RuntimeInfo } from "./runtime.ts";
export { CronTrigger, HttpMethod, HttpTrigger, QueueTrigger, RESERVED_SEGMENTS, Trigger } from "./trigger.ts";
