import {
  buildCurl,
  describeBounds,
  describeType,
  type JsonSchema,
  listOperations,
  type OpenApiDocument,
  type OpenApiParameter,
  type OpenApiResponse,
  type PlacedOperation,
} from "../../packages/server/src/api/docs-model.ts";
import { GENERATED, renderTable } from "./markdown.ts";

/** Where `npm start` listens. */
const EXAMPLE_ORIGIN = "http://localhost:8080";

/** `docs/reference/api.md`: what `/docs` shows, for reading without a server. */
export function renderApiReference(openApi: object): string {
  const document = openApi as OpenApiDocument;
  const { title, description } = document.info;
  const sections = document.tags.map((tag) => {
    const operations = listOperations(document, tag.name).map(renderOperation);
    return `## ${tag.name}\n\n${tag.description}\n\n${operations.join("\n")}`;
  });
  const introduction = `# ${title} API\n\n${description} The same is served at \`/docs\`, and as OpenAPI 3.1 at \`/openapi.json\`. Error codes: [errors.md](errors.md).\n`;
  return [GENERATED, introduction, ...sections, renderSchemas(document)].join("\n");
}

function renderOperation(placed: PlacedOperation): string {
  const { method, path, operation } = placed;
  const responses = Object.entries(operation.responses);
  const parts = [
    `### ${operation.summary}\n\n\`${method} ${path}\`\n`,
    ...(operation.description === undefined ? [] : [`${operation.description}\n`]),
    ...renderParameters(operation.parameters ?? []),
    `\`\`\`sh\n${buildCurl(placed, EXAMPLE_ORIGIN)}\n\`\`\`\n`,
    ...responses.filter(([status]) => Number(status) < 300).map(([status, response]) => renderAnswer(status, response)),
    renderErrors(responses.filter(([status]) => Number(status) >= 300)),
  ];
  return parts.join("\n");
}

function renderParameters(parameters: readonly OpenApiParameter[]): string[] {
  if (parameters.length === 0) return [];
  const rows = parameters.map(({ name, in: place, schema, description }) => {
    const bounds = describeBounds(schema);
    return [`\`${name}\``, place, describeType(schema, link), bounds === "" ? description : `${description} (${bounds})`];
  });
  return [renderTable(["Parameter", "In", "Type", "Meaning"], rows)];
}

function renderAnswer(status: string, response: OpenApiResponse): string {
  const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
  const kind = content === undefined ? "" : ` (\`${type}\`: ${describeType(content.schema, link)})`;
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) => [`\`${name}\``, header.description]);
  const parts = [`**${status}** ${response.description}${kind}\n`];
  if (headers.length > 0) parts.push(renderTable(["Header", "Meaning"], headers));
  if (content?.example !== undefined) parts.push(renderExample(content.example));
  return parts.join("\n");
}

function renderExample(example: unknown): string {
  return typeof example === "string"
    ? `\`\`\`\n${example.trimEnd()}\n\`\`\`\n`
    : `\`\`\`json\n${JSON.stringify(example, null, 2)}\n\`\`\`\n`;
}

function renderErrors(responses: readonly (readonly [string, OpenApiResponse])[]): string {
  const rows = responses.map(([status, { description }]) => [status, description]);
  return renderTable(["Error status", "Codes"], rows);
}

function renderSchemas(document: OpenApiDocument): string {
  const sections = Object.entries(document.components.schemas).map(([name, schema]) => {
    const description = schema.description === undefined ? "" : `${schema.description}\n\n`;
    return `### ${name}\n\n${description}${renderFields(schema)}`;
  });
  return `## Schemas\n\n${sections.join("\n")}`;
}

function renderFields(schema: JsonSchema): string {
  const rows = listFields(schema, "");
  return rows.length === 0 ? `${describeType(schema, link)}\n` : renderTable(["Field", "Type", "Meaning"], rows);
}

function listFields(schema: JsonSchema, prefix: string): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const isRequired = schema.required?.includes(name) ?? false;
    const meaning = [field.description ?? "", describeBounds(field)].filter((part) => part !== "").join("; ");
    const row = [`\`${prefix}${name}\`${isRequired ? " (required)" : ""}`, describeType(field, link), meaning];
    return [row, ...listFields(field, `${prefix}${name}.`)];
  });
}

function link(name: string): string {
  return `[${name}](#${name.toLowerCase()})`;
}
