/** A field of a schedule, as its author is told of it. */
interface Field {
  name: string;
  values: string;
}

const SECOND: Field = { name: "second", values: "0 to 59" };
const FIELDS: readonly Field[] = [
  { name: "minute", values: "0 to 59" },
  { name: "hour", values: "0 to 23" },
  { name: "day of month", values: "1 to 31" },
  { name: "month", values: "1 to 12 or JAN to DEC" },
  { name: "weekday", values: "0 to 7 or SUN to SAT" },
];

/**
 * Which field of a schedule cannot be read, and what it may have. Each is tried alone, as the parser's own messages speak of
 * its insides: `day: -1` for a day of month 0.
 * @param canRead whether a schedule of as many fields can be read
 */
export function explainFields(schedule: string, canRead: (schedule: string) => boolean): string | undefined {
  const texts = schedule.trim().split(/\s+/);
  const fields = texts.length > FIELDS.length ? [SECOND, ...FIELDS] : FIELDS;
  const at = texts.findIndex((text, index) => !canRead(texts.map((_, other) => (other === index ? text : "*")).join(" ")));
  const field = fields[at];
  if (field === undefined) return undefined;
  const { name, values } = field;
  return `the ${name} '${texts[at]}' is not valid: it takes ${values}, * for all, lists such as 1,3, ranges such as 1-3 and steps such as */2`;
}
