import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import { AccessControl } from "../security/access-control.ts";
import { AuditLog } from "../security/audit/audit-log.ts";
import { Authenticator } from "../security/authentication/authenticator.ts";
import { type BudgetEvent, Budgets } from "../security/budget/budgets.ts";
import type { Usage } from "../security/budget/daily-budget.ts";
import type { BudgetStore } from "../security/budget/port.ts";
import { AdminKey, bootstrapAdmin } from "../security/keys/admin-key.ts";
import { ApiKeys } from "../security/keys/api-keys.ts";
import type { ApiKeyStore } from "../security/keys/port.ts";
import { CallLimits } from "../security/limits/call-limits.ts";
import { TokenIssuers } from "../security/oidc/token-issuers.ts";
import type { TaskGroup } from "../task-group.ts";
import { pricesOf } from "./shared.ts";

/** Of a function that was never called. */
const NO_USAGE: Usage = { gbSeconds: 0, invocations: 0 };

export interface AccessParts {
  config: Config;
  clock: Clock;
  keyStore: ApiKeyStore;
  budgetStore: BudgetStore;
  registry: FunctionRegistry;
  metrics: Pick<MetricsRegistry, "peek">;
  tasks: TaskGroup;
  log: Logger;
}

/** Who may do what, and how often: everything of it, started and stopped together. */
export class Access {
  readonly control: AccessControl;
  readonly limits: CallLimits;
  readonly budgets: Budgets;
  /** Undefined where nobody is asked for a key. */
  readonly keys: ApiKeys | undefined;
  /** The admin key that was made at this start, to be shown once. */
  newAdminKey: string | undefined;
  readonly #metrics: Pick<MetricsRegistry, "peek">;
  readonly #audit: AuditLog;
  readonly #issuers: TokenIssuers | undefined;
  readonly #adminKey: AdminKey | undefined;

  constructor({ config, clock, keyStore, budgetStore, registry, metrics, tasks, log }: AccessParts) {
    this.#metrics = metrics;
    this.#audit = new AuditLog({ folder: join(config.dataFolder, "audit"), clock, tasks });
    this.limits = new CallLimits({
      caller: { rateLimit: config.callerRateLimit, maxConcurrency: config.callerMaxConcurrency },
      global: { rateLimit: config.globalRateLimit, maxConcurrency: config.globalMaxConcurrency },
    });
    const onEvent = (event: BudgetEvent): void => warnOfBudget(log, registry, event);
    this.budgets = new Budgets({ store: budgetStore, clock, tasks, prices: pricesOf(config), onEvent });
    if (!config.auth) {
      this.control = new AccessControl({ authenticator: undefined, audit: this.#audit });
      return;
    }
    const text = config.adminKey ?? config.adminKeyOfFile;
    this.#adminKey = text === undefined ? undefined : new AdminKey(text);
    const { oidc } = config;
    this.#issuers =
      oidc === undefined
        ? undefined
        : new TokenIssuers({
            issuers: oidc.issuers,
            clock,
            onChange: (issuer, error) =>
              error === undefined ? log.info({ issuer }, "issuer is back") : log.warn({ issuer, err: error }, "issuer cannot be reached"),
          });
    this.keys = new ApiKeys({ store: keyStore, clock, tasks, onChanged: () => authenticator.forgetKeys() });
    const authenticator = new Authenticator({ clock, keys: this.keys, adminKey: this.#adminKey, issuers: this.#issuers });
    this.control = new AccessControl({ authenticator, audit: this.#audit });
  }

  /** Before the first request. */
  async start(): Promise<void> {
    await Promise.all([this.keys?.load(), this.budgets.load()]);
    if (this.keys !== undefined) this.newAdminKey = await bootstrapAdmin(this.keys, this.#adminKey);
    // Issuers that are away are no reason to wait.
    void this.#issuers?.start();
  }

  /** @throws KsError `BUDGET_EXCEEDED` */
  checkBudget({ stored }: FunctionEntry): void {
    const { budget } = (stored.served ?? stored).spec;
    if (budget !== undefined) this.budgets.check(stored.uid, budget, this.#metrics.peek(stored.uid) ?? NO_USAGE);
  }

  degraded(): string[] {
    return [...(this.#issuers?.away() ?? []).map((name) => `issuer-${name}`), ...(this.#audit.isHealthy ? [] : ["audit-log"])];
  }

  async stop(): Promise<void> {
    this.#issuers?.stop();
    await Promise.all([this.keys?.stop(), this.budgets.stop(), this.#audit.stop()]);
  }
}

function warnOfBudget(log: Logger, registry: FunctionRegistry, { uid, kind, spentUsd, perDayUsd }: BudgetEvent): void {
  const name = registry.byUid(uid)?.stored.spec.name;
  const message = kind === "spent" ? "the day's budget is spent: calls are refused" : "80 % of the day's budget is spent";
  log.warn({ function: name, spentUsd, perDayUsd }, message);
}
