import { setTimeout as pause } from "node:timers/promises";
import type { RabbitMq } from "../../support/rabbitmq.ts";
import type { TcpProxy } from "../../support/tcp-proxy.ts";

export interface BrokerFault {
  name: string;
  /** What it leaves broken is healed by whoever calls. */
  inflict(between: { proxy: TcpProxy; broker: RabbitMq }): Promise<void>;
}

async function swallowAgainAndAgain(proxy: TcpProxy, direction: "up" | "down"): Promise<void> {
  for (let round = 0; round < 3; round++) {
    proxy.swallow(direction);
    await pause(300);
    proxy.heal();
    await pause(700);
  }
}

/** Whatever may happen to a broker, and between it and us. */
export const BROKER_FAULTS: readonly BrokerFault[] = [
  {
    name: "resets",
    async inflict({ proxy }) {
      for (let round = 0; round < 6; round++) {
        await pause(400);
        proxy.reset();
      }
    },
  },
  {
    name: "connections cut in the middle of a frame",
    async inflict({ proxy }) {
      for (let round = 0; round < 6; round++) {
        proxy.tear();
        await pause(400);
      }
    },
  },
  {
    name: "a broker that cannot be reached for 2 s",
    async inflict({ proxy }) {
      proxy.refuse();
      await pause(2_000);
    },
  },
  {
    name: "a half-open connection",
    async inflict({ proxy }) {
      proxy.swallow("up", "down");
      await pause(5_000);
    },
  },
  { name: "lost confirms", inflict: ({ proxy }) => swallowAgainAndAgain(proxy, "down") },
  { name: "lost acks", inflict: ({ proxy }) => swallowAgainAndAgain(proxy, "up") },
  {
    name: "a network that is slow, and slower than we wait",
    async inflict({ proxy }) {
      for (const delayMs of [50, 400, 2_500]) {
        proxy.delay(delayMs);
        await pause(1_000);
      }
      proxy.reset();
    },
  },
  {
    name: "a broker that stands still for 4 s",
    async inflict({ broker }) {
      broker.freeze();
      await pause(4_000);
      broker.thaw();
    },
  },
  {
    name: "connections that the broker's operator closes",
    inflict: ({ broker }) => broker.control("close_all_connections", "--vhost", "/", "for a test"),
  },
  {
    name: "SIGKILL of the broker in mid-call",
    async inflict({ broker }) {
      // RabbitMQ 3.10 syncs its list of quorum queues within a second: one declared just before a SIGKILL never gets a leader.
      await pause(2_500);
      await broker.kill();
      await broker.start();
    },
  },
  {
    name: "a restart of the broker",
    async inflict({ broker }) {
      await broker.shutDown();
      await broker.start();
    },
  },
  {
    name: "a lost ack, then SIGKILL of the broker, then resets while it starts",
    async inflict({ proxy, broker }) {
      await pause(2_500);
      proxy.swallow("up");
      await pause(200);
      await broker.kill();
      proxy.heal();
      const started = broker.start();
      for (let round = 0; round < 4; round++) {
        await pause(300);
        proxy.reset();
      }
      await started;
    },
  },
];
