import type { DestinationStream, Logger } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

export interface ServerLogOptions {
  level: LogLevel;
  /** `auto`: pretty on a terminal, else one JSON object a line. */
  format: "auto" | "json" | "pretty";
  /** Whether what is written is read by a person, in colours. */
  isTerminal: boolean;
  /** Where lines go; tests collect them. @default standard output */
  destination?: DestinationStream;
}

/**
 * The server's own log. Written synchronously in this process: no line of a crash is lost in a worker, and the start
 * need not wait for one. pino and pino-pretty are loaded only here, the latter only where it is used.
 */
export async function createServerLog(options: ServerLogOptions): Promise<Logger> {
  const { pino } = await import("pino");
  const settings = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const destination = options.destination ?? openStandardOutput(pino.destination({ dest: 1, sync: true }));
  const isPretty = options.format === "pretty" || (options.format === "auto" && options.isTerminal);
  return pino(settings, isPretty ? await createPretty(destination, options.isTerminal) : destination);
}

/** A reader that is gone, as with `| head`, must not end the server. */
function openStandardOutput(destination: ReturnType<typeof import("pino").destination>): DestinationStream {
  destination.on("error", () => {});
  return destination;
}

async function createPretty(destination: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { prettyFactory } = await import("pino-pretty");
  const format = prettyFactory({ colorize, translateTime: "SYS:HH:MM:ss.l", ignore: "pid,hostname" });
  return { write: (line) => destination.write(format(keepControlCharactersEscaped(line))) };
}

/**
 * Messages may quote what users and their functions chose: on a terminal, control characters in them could move the
 * cursor or change its title. In JSON they are escaped; this escapes the escape, so that it is shown as it stands.
 * Line ends stay, as stacks need them.
 */
export function keepControlCharactersEscaped(json: string): string {
  return json
    .replace(/\\(?:u(00[01][0-9a-f])|[^u]|u)/gi, (escape: string, control: string | undefined) => {
      if (control !== undefined) return `\\\\u${control}`;
      return escape === "\\b" || escape === "\\f" || escape === "\\r" ? `\\${escape}` : escape;
    })
    .replace(/[\u007f-\u009f]/g, (character) => `\\\\u00${character.charCodeAt(0).toString(16)}`);
}
