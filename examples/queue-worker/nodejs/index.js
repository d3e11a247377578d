/** Messages may come more than once: a real worker keeps this in its database, with its effects. */
const done = new Set();

exports.handler = async (event) => {
  const { messageId, attempt } = event.trigger;
  if (done.has(messageId)) return;
  const { id, lines } = event.body ?? {};
  // What is thrown counts as a failed attempt: the message comes again, and lies in orders-nodejs.dead after the last.
  if (!id || !Array.isArray(lines)) throw new TypeError(`attempt ${attempt}: not an order: ${JSON.stringify(event.body)}`);
  const cents = lines.reduce((sum, line) => sum + line.pieces * line.cents, 0);
  console.log(`order ${id}: ${lines.length} lines, ${(cents / 100).toFixed(2)}`);
  done.add(messageId);
};
