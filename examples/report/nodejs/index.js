exports.handler = async (event) => {
  const { timezone = "UTC", currency = "EUR" } = event.body;
  const day = dayBefore(event.trigger.plannedAt ?? new Date().toISOString(), timezone);
  const orders = await loadOrders(day);
  const report = { day, orders: orders.length, ...summarise(orders), currency };
  console.log(`report of ${day}: ${report.orders} orders, ${(report.cents / 100).toFixed(2)} ${currency}, most sold: ${report.best}`);
  return report;
};

/** The planned time counts, so that a run that comes late still reports its own day. */
function dayBefore(time, timeZone) {
  const today = new Intl.DateTimeFormat("sv-SE", { timeZone }).format(new Date(time));
  return new Date(Date.parse(today) - 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
}

async function loadOrders(day) {
  if (!process.env.ORDERS_URL) return SAMPLE;
  const response = await fetch(`${process.env.ORDERS_URL}?day=${day}`);
  if (!response.ok) throw new Error(`The orders of ${day} cannot be had: ${response.status}`);
  return response.json();
}

function summarise(orders) {
  const sold = {};
  for (const { product, pieces } of orders) sold[product] = (sold[product] ?? 0) + pieces;
  const best = Object.keys(sold).sort((a, b) => sold[b] - sold[a])[0] ?? null;
  return { cents: orders.reduce((sum, order) => sum + order.cents, 0), best };
}

const SAMPLE = [
  { product: "tea", pieces: 3, cents: 1350 },
  { product: "cup", pieces: 1, cents: 900 },
  { product: "tea", pieces: 2, cents: 900 },
];
