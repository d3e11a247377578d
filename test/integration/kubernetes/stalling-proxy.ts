import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Bytes to and from the API server, which the test can hold up or refuse. */
export class StallingProxy {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #refuses = false;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#join(client, targetPort));
  }

  static async start(targetUrl: string): Promise<StallingProxy> {
    const proxy = new StallingProxy(Number(new URL(targetUrl).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** What is open now stays open, and says nothing any more; new connections are served. */
  stallOpen(): void {
    for (const [client, target] of this.#pairs) {
      target.unpipe(client);
      target.resume();
    }
  }

  /** Ends what is open, and takes nothing more until told. */
  refuse(refuses: boolean): void {
    this.#refuses = refuses;
    if (refuses) for (const [client] of this.#pairs) client.destroy();
  }

  #join(client: Socket, targetPort: number): void {
    if (this.#refuses) return void client.destroy();
    const target = connect(targetPort, "127.0.0.1");
    const pair: [Socket, Socket] = [client, target];
    const end = (): void => {
      this.#pairs.delete(pair);
      for (const each of pair) each.destroy();
    };
    this.#pairs.add(pair);
    client.pipe(target).pipe(client);
    for (const socket of pair) socket.on("error", () => undefined).on("close", end);
  }

  async stop(): Promise<void> {
    this.refuse(true);
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
