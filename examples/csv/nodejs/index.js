exports.handler = async (event) => {
  if (typeof event.body !== "string" || event.body.trim() === "") return refuse("Send a CSV file with Content-Type: text/csv");
  let rows;
  try {
    rows = parseCsv(event.body);
  } catch (error) {
    return refuse(error.message);
  }
  const [names, ...records] = rows;
  if (event.query.as === "rows") return records.map((record) => Object.fromEntries(names.map((name, i) => [name, record[i]])));
  const columns = names.map((name, i) => [name, describe(records.map((record) => record[i]))]);
  return { rows: records.length, columns: Object.fromEntries(columns) };
};

function refuse(error) {
  return { statusCode: 400, body: { error } };
}

/** RFC 4180: fields may stand in quotes, a quote within them is doubled. */
function parseCsv(text) {
  const rows = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (match === null) throw new Error(`Line ${rows.length}: a quote is out of place`);
    const [, quoted, bare, end] = match;
    rows.at(-1).push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end !== "," && field.lastIndex < text.length) rows.push([]);
    if (end === "," && field.lastIndex === text.length) rows.at(-1).push("");
  }
  const odd = rows.findIndex((row) => row.length !== rows[0].length);
  if (odd > 0) throw new Error(`Line ${odd + 1}: ${rows[odd].length} fields instead of ${rows[0].length}`);
  return rows;
}

function describe(values) {
  const numbers = values.map(Number);
  const isNumeric = values.length > 0 && values.every((value, i) => value.trim() !== "" && Number.isFinite(numbers[i]));
  if (!isNumeric) return { type: "text", distinct: new Set(values).size };
  const sum = numbers.reduce((total, number) => total + number, 0);
  return { type: "number", min: Math.min(...numbers), max: Math.max(...numbers), mean: sum / numbers.length };
}
