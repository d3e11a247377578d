const { createHmac, timingSafeEqual } = require("node:crypto");

exports.handler = async (event) => {
  if (!isSigned(event)) return { statusCode: 401, body: { error: "The signature is missing or wrong" } };
  const kind = event.headers["x-github-event"];
  if (kind === "ping") return { pong: event.body.zen };
  const { repository, ref, commits = [] } = event.body;
  console.log(`${kind} to ${repository.full_name} ${ref}: ${commits.length} commits`);
  return { statusCode: 202, body: { accepted: kind, commits: commits.length } };
};

/** The signature covers the bytes as they were sent, so the parsed body will not do. */
function isSigned({ headers, rawBody }) {
  const expected = Buffer.from(`sha256=${createHmac("sha256", process.env.WEBHOOK_SECRET).update(rawBody).digest("hex")}`);
  const given = Buffer.from(headers["x-hub-signature-256"] ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}
