export interface Bar {
  label: string;
  value: number;
  colour: string;
}

export interface BarGroup {
  title: string;
  bars: readonly Bar[];
}

const LABEL_WIDTH = 190;
const BAR_WIDTH = 420;
const BAR_HEIGHT = 18;
const GROUP_GAP = 34;
const WIDTH = LABEL_WIDTH + BAR_WIDTH + 80;

/** Horizontal bars in groups, as SVG. */
export function renderBars(title: string, groups: readonly BarGroup[]): string {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const parts: string[] = [];
  let y = 44;
  for (const { title: groupTitle, bars } of groups) {
    parts.push(`<text x="16" y="${y + 12}" font-weight="bold">${escapeXml(groupTitle)}</text>`);
    y += 22;
    for (const bar of bars) {
      parts.push(renderBar(bar, y, longest));
      y += BAR_HEIGHT + 4;
    }
    y += GROUP_GAP - 22;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="15" font-weight="bold">${escapeXml(title)}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function renderBar({ label, value, colour }: Bar, y: number, longest: number): string {
  const width = Math.max(1, Math.round((value / longest) * BAR_WIDTH));
  const textY = y + BAR_HEIGHT - 5;
  return [
    `<text x="${LABEL_WIDTH - 8}" y="${textY}" text-anchor="end">${escapeXml(label)}</text>`,
    `<rect x="${LABEL_WIDTH}" y="${y}" width="${width}" height="${BAR_HEIGHT}" fill="${colour}"/>`,
    `<text x="${LABEL_WIDTH + width + 6}" y="${textY}">${value.toFixed(2)}</text>`,
  ].join("");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
