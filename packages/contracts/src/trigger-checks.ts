import { countUtf8Bytes } from "./environment.ts";
import { methodsOverlap, parsePathPattern } from "./http-path.ts";
import { formatPath, type Problem } from "./problem.ts";
import { CronTrigger, HttpTrigger, QueueTrigger } from "./trigger.ts";
import { findMissingSecrets } from "./webhook-signature.ts";

/** Why a schedule in a known time zone is none, or undefined when it is one. */
export type CronCheck = (schedule: string, timezone: string) => string | undefined;

/** What a schedule's `body` may take of the memory that every function costs. */
const MAX_CRON_BODY_BYTES = 256 * 1024;
/** Leaves room below AMQP's 255 for `.dead` and the names of retry queues. */
const MAX_QUEUE_NAME_BYTES = 200;

/** What a trigger is told apart by within its function, or the overlap with an earlier one. */
interface Known {
  index: number;
  key: string;
  methods: readonly string[] | undefined;
}

/** Checks of each trigger whose fields have the right types, and of duplicates among them. */
export function checkTriggers(
  triggers: readonly unknown[],
  environment: Readonly<Record<string, unknown>>,
  checkCron: CronCheck | undefined,
): Problem[] {
  const problems: Problem[] = [];
  const known: Known[] = [];
  for (const [index, trigger] of triggers.entries()) {
    const before = problems.length;
    const key = checkTrigger(trigger, environment, checkCron, (field, message) => {
      problems.push({ path: formatPath(["triggers", index, "config", field]), message });
    });
    if (key === undefined || problems.length > before) continue;
    const earlier = known.find((other) => other.key === key.key && methodsOverlap(other.methods, key.methods));
    if (earlier !== undefined) problems.push({ path: formatPath(["triggers", index]), message: `repeats triggers[${earlier.index}]` });
    known.push({ index, ...key });
  }
  return problems;
}

type Report = (field: string, message: string) => void;
type TriggerKey = Pick<Known, "key" | "methods">;

function checkTrigger(
  trigger: unknown,
  environment: Readonly<Record<string, unknown>>,
  checkCron: CronCheck | undefined,
  report: Report,
): TriggerKey | undefined {
  const http = HttpTrigger.safeParse(trigger);
  if (http.success) return checkHttp(http.data, environment, report);
  const cron = CronTrigger.safeParse(trigger);
  if (cron.success) return checkSchedule(cron.data, checkCron, report);
  const queue = QueueTrigger.safeParse(trigger);
  return queue.success ? checkQueue(queue.data, report) : undefined;
}

function checkHttp({ config }: HttpTrigger, environment: Readonly<Record<string, unknown>>, report: Report): TriggerKey | undefined {
  const parsed = parsePathPattern(config.path);
  if ("problem" in parsed) report("path", parsed.problem);
  const missing = config.signature === undefined ? [] : findMissingSecrets(config.signature, environment);
  if (missing.length > 0) {
    report("signature", `names ${missing.join(" and ")}, which environment lacks or leaves empty: put the webhook's secret there`);
  }
  return "pattern" in parsed ? { key: `http ${parsed.pattern.shape}`, methods: config.methods } : undefined;
}

function checkSchedule({ config }: CronTrigger, checkCron: CronCheck | undefined, report: Report): TriggerKey | undefined {
  const timezone = config.timezone ?? "UTC";
  if (!isTimezone(timezone)) {
    report("timezone", `is no time zone: give an IANA name such as Europe/Kyiv, not '${timezone}'`);
    return undefined;
  }
  const problem = checkCron?.(config.schedule, timezone);
  if (problem !== undefined) report("schedule", problem);
  if (config.body !== undefined && countUtf8Bytes(JSON.stringify(config.body)) > MAX_CRON_BODY_BYTES) {
    report("body", `must be at most ${MAX_CRON_BODY_BYTES} bytes of JSON`);
  }
  // The same times, however they are spaced: both would run.
  const schedule = config.schedule.trim().split(/\s+/).join(" ");
  return { key: `cron ${JSON.stringify([schedule, timezone])}`, methods: undefined };
}

/** Offsets such as `+02:00` are understood by some engines and not by others, so names alone count. */
function isTimezone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function checkQueue({ config }: QueueTrigger, report: Report): TriggerKey {
  const problem = checkQueueName(config.queue);
  if (problem !== undefined) report("queue", problem);
  const exchangeProblem = config.exchange === undefined ? undefined : checkAmqpName(config.exchange);
  if (exchangeProblem !== undefined) report("exchange", exchangeProblem);
  const keyProblem = config.routingKey === undefined ? undefined : checkAmqpName(config.routingKey);
  if (keyProblem !== undefined) report("routingKey", keyProblem);
  return { key: `queue ${JSON.stringify([config.queue, config.exchange])}`, methods: undefined };
}

/** Why a queue cannot be called so, or undefined when it can. */
export function checkQueueName(name: string): string | undefined {
  if (name.startsWith("amq.")) return "must not begin with 'amq.', which RabbitMQ keeps for itself";
  // Such a queue would have no address under /api/v1/queues.
  if (name === "" || name === "." || name === "..") return "must be a name";
  return checkAmqpName(name);
}

function checkAmqpName(name: string): string | undefined {
  if (/[\u0000-\u001f\u007f]/.test(name) || !name.isWellFormed()) return "must not have control characters or broken Unicode";
  return countUtf8Bytes(name) > MAX_QUEUE_NAME_BYTES ? `must be at most ${MAX_QUEUE_NAME_BYTES} bytes of UTF-8` : undefined;
}
