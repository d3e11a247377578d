interface Message {
  id?: number;
  method?: string;
  params?: { sessionId?: string; message?: string };
  error?: { message: string };
}

const ANSWER_LIMIT_MS = 30_000;

/** Collects the garbage of a Node.js process that was started with `--inspect`, that of its worker threads included. */
export async function collectGarbage(inspectorUrl: string): Promise<void> {
  const socket = new WebSocket(inspectorUrl);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error(`the inspector at ${inspectorUrl} cannot be reached`)), { once: true });
  });
  const workers: string[] = [];
  const waiting = new Map<number, () => void>();
  let nextId = 1;
  const request = (send: (id: number) => string): Promise<void> => {
    const id = nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error("the inspector did not answer")), ANSWER_LIMIT_MS);
    waiting.set(id, () => {
      clearTimeout(timer);
      resolve();
    });
    socket.send(send(id));
    return promise;
  };
  const receive = (message: Message): void => {
    if (message.id !== undefined) waiting.get(message.id)?.();
    else if (message.method === "NodeWorker.attachedToWorker") workers.push(message.params!.sessionId!);
    else if (message.method === "NodeWorker.receivedMessageFromWorker") receive(JSON.parse(message.params!.message!) as Message);
  };
  socket.addEventListener("message", (event) => receive(JSON.parse(String(event.data)) as Message));
  const collect = (id: number): string => JSON.stringify({ id, method: "HeapProfiler.collectGarbage" });
  await request((id) => JSON.stringify({ id, method: "NodeWorker.enable", params: { waitForDebuggerOnStart: false } }));
  await request(collect);
  for (const sessionId of workers) {
    // The worker's answer comes within a message that carries the same id.
    await request((id) =>
      JSON.stringify({ id: -id, method: "NodeWorker.sendMessageToWorker", params: { sessionId, message: collect(id) } }),
    );
  }
  socket.close();
}
