/** What the server's own process takes. */
export interface ProcessFigures {
  cpuSeconds: number;
  residentBytes: number;
  heapUsedBytes: number;
  startedAtSeconds: number;
  /** 0 to 1. */
  loopUtilization: number;
}

export function readProcessFigures(): ProcessFigures {
  const cpu = process.cpuUsage();
  const memory = process.memoryUsage();
  return {
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    residentBytes: memory.rss,
    heapUsedBytes: memory.heapUsed,
    startedAtSeconds: performance.timeOrigin / 1_000,
    loopUtilization: performance.eventLoopUtilization().utilization,
  };
}
