/** What the queue drivers need of a logger; pino's fits. */
export interface QueueLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

export const silentLog: QueueLog = { info() {}, warn() {} };
