// node examples/deploy.mjs FOLDER [URL]: creates the function of a folder, or updates it, and waits until it serves.
// The folder holds function.json, which is a function without its code, and the one source file beside it.
// The server is the one at URL, else at $KS_URL, else the one that `npm start` starts.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [folder, url = process.env.KS_URL ?? "http://localhost:8080"] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node examples/deploy.mjs FOLDER [URL]");
  process.exit(2);
}

const spec = JSON.parse(readFileSync(join(folder, "function.json"), "utf8"));
spec.code = readFileSync(join(folder, findSource(folder)), "utf8");

const functions = `${url}/api/v1/functions`;
let answer = await send("POST", functions);
if (answer.status === 409 && answer.body.code === "FUNCTION_EXISTS") answer = await send("PUT", `${functions}/${spec.name}`);
if (answer.status >= 400) fail(`${answer.body.error} ${JSON.stringify(answer.body.details ?? "")}`);

let { status } = answer.body;
while (status.state === "deploying") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  ({ status } = await (await fetch(`${functions}/${spec.name}`)).json());
}
if (status.state === "failed") fail(`${spec.name}: ${status.message}`);
console.log(`${spec.name} is ${status.state}`);

async function send(method, to) {
  const request = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(spec) };
  const response = await fetch(to, request);
  return { status: response.status, body: await response.json() };
}

function findSource(path) {
  const sources = readdirSync(path).filter((file) => /\.(m?js|py|go)$/.test(file));
  if (sources.length !== 1) fail(`${path} should hold one source file, and holds ${sources.length}`);
  return sources[0];
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
