import { type ChildProcess, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { connect } from "amqplib";
import { endProcess, freePort, hasEnded, spawnTied } from "./process.ts";

/** The script itself: Debian's /usr/sbin wrapper would change the user and write to the machine's log folder. */
const SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const BOOT_LIMIT_MS = 90_000;

/** Why RabbitMQ cannot run here, or undefined when it can. */
export function rabbitMqMissing(): string | undefined {
  return existsSync(SERVER) ? undefined : "needs RabbitMQ: apt-get install rabbitmq-server";
}

/** A RabbitMQ of the test's own: loopback, free ports, folders that go away with it. */
export interface RabbitMq {
  readonly url: string;
  readonly port: number;
  /** SIGKILL: as if the machine had lost power, but for the disk. */
  kill(): Promise<void>;
  /** SIGSTOP, until `thaw`: as a machine without a processor, or a disk that hangs. */
  freeze(): void;
  thaw(): void;
  /** SIGTERM, and waits for the end. */
  shutDown(): Promise<void>;
  /** Starts it again on the same port and data. */
  start(): Promise<void>;
  /** Runs `rabbitmqctl`; takes a second or two. */
  control(...args: string[]): Promise<void>;
  /** Ends it and removes its folder. */
  dispose(): Promise<void>;
}

async function waitUntilItAnswers(url: string, child: ChildProcess, logFile: string): Promise<void> {
  const limit = performance.now() + BOOT_LIMIT_MS;
  for (;;) {
    try {
      const connection = await connect(url, { timeout: 5_000 });
      await connection.close();
      return;
    } catch (error) {
      if (hasEnded(child) || performance.now() > limit) {
        const log = await readFile(logFile, "utf8").catch(() => "no log");
        throw new Error(`RabbitMQ did not start:\n${log.slice(-4_000)}`, { cause: error });
      }
      await pause(100);
    }
  }
}

async function launch(): Promise<RabbitMq> {
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "ks-rabbitmq-"));
  const logFolder = join(folder, "log");
  const nodeName = `ks${process.pid}p${port}@localhost`;
  await mkdir(logFolder);
  await writeFile(join(folder, "enabled_plugins"), "[].\n");
  await writeFile(join(folder, "rabbitmq.conf"), "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 10MB\n");
  // A message whose move to another queue was cut off is moved again after this: three minutes where nothing is said.
  await writeFile(join(folder, "advanced.config"), "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].\n");
  const env = {
    PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: folder,
    LANG: "C.UTF-8",
    // Makes the script exec the Erlang machine, so that the process we signal is the broker.
    RUNNING_UNDER_SYSTEMD: "true",
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_CONF_ENV_FILE: join(folder, "none.conf"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "advanced.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
    RABBITMQ_NODENAME: nodeName,
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: logFolder,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
  };
  const options = { env, cwd: folder, stdio: "ignore" as const };
  const url = `amqp://guest:guest@127.0.0.1:${port}`;
  // Started in the foreground, so that it ends with us: RabbitMQ would otherwise leave a daemon behind.
  const epmd = spawnTied("/usr/bin/epmd", ["-port", String(epmdPort), "-address", "127.0.0.1"], options);
  let server: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    server = spawnTied(SERVER, [], options);
    await waitUntilItAnswers(url, server, join(logFolder, `${nodeName}.log`));
  };
  const broker: RabbitMq = {
    url,
    port,
    start,
    kill: () => endProcess(server, "SIGKILL"),
    freeze: () => void server?.kill("SIGSTOP"),
    thaw: () => void server?.kill("SIGCONT"),
    shutDown: () => endProcess(server, "SIGTERM"),
    async control(...args) {
      await promisify(execFile)("/usr/lib/rabbitmq/bin/rabbitmqctl", ["--node", nodeName, ...args], { env });
    },
    async dispose() {
      await endProcess(server, "SIGKILL");
      await endProcess(epmd, "SIGKILL");
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  try {
    await start();
  } catch (error) {
    await broker.dispose();
    throw error;
  }
  return broker;
}

let shared: Promise<RabbitMq> | undefined;

/** The one broker of this test process; the first caller starts it, which takes about 6 s. */
export function sharedRabbitMq(): Promise<RabbitMq> {
  shared ??= launch();
  return shared;
}

/** For a suite's `after`: ends the broker of this process, if there is one. */
export async function disposeRabbitMq(): Promise<void> {
  const broker = await shared?.catch(() => undefined);
  shared = undefined;
  await broker?.dispose();
}
