// Attempts what its arguments say, and prints what came of each: done, or the error that it met.
const fs = require("node:fs");
const net = require("node:net");

const openAndClose = (path, flags) => fs.closeSync(fs.openSync(path, flags));

const VERBS = {
  read: (path) => openAndClose(path, "r"),
  write: (path) => openAndClose(path, fs.constants.O_WRONLY | fs.constants.O_CREAT),
  unlink: fs.unlinkSync,
  link: fs.linkSync,
  "read-by-link": (path) => {
    fs.symlinkSync(path, "/tmp/link");
    openAndClose("/tmp/link", "r");
  },
  kill: (pid, signal) => process.kill(Number(pid), Number(signal)),
  connect: (address, port) =>
    new Promise((resolve, reject) => {
      const socket = net.connect(Number(port), address, resolve);
      socket.on("error", reject);
      setTimeout(() => reject(new Error("no answer")), 3000).unref();
    }),
  fill: (path) => {
    const descriptor = fs.openSync(path, "w");
    const piece = Buffer.alloc(1 << 20, 1);
    for (let count = 0; count < 400; count++) fs.writeSync(descriptor, piece);
  },
  descriptors: () => {
    for (;;) fs.openSync("/dev/null", "r");
  },
};

const main = async () => {
  for (const line of process.argv.slice(2)) {
    const [verb, ...words] = line.split(" ");
    try {
      await VERBS[verb](...words);
      fs.writeSync(1, "done\n");
    } catch (error) {
      fs.writeSync(1, `${error.code ?? error.message}\n`);
    }
  }
  process.exit();
};
void main();
