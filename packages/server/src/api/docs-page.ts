import { createHash } from "node:crypto";
import {
  buildCurl,
  describeBounds,
  describeType,
  type JsonSchema,
  listOperations,
  type OpenApiContent,
  type OpenApiDocument,
  type OpenApiParameter,
  type OpenApiResponse,
  type PlacedOperation,
} from "./docs-model.ts";
import { DOCS_STYLE } from "./docs-style.ts";

const STYLE_HASH = createHash("sha256").update(DOCS_STYLE).digest("base64");

/** Nothing is loaded, nothing runs, nobody frames it. */
export const DOCS_HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy": `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

/** What is copied into a shell; a proxy in front may have passed on anything as the host. */
const PLAIN_ORIGIN = /^https?:\/\/(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;
const DEFAULT_ORIGIN = "http://localhost:8080";

/** The reference as one page without scripts, out of the OpenAPI document; its samples call `from`, where the reader came from. */
export function buildDocsPage(openApi: object, from: string): string {
  const document = openApi as OpenApiDocument;
  const origin = PLAIN_ORIGIN.test(from) ? from : DEFAULT_ORIGIN;
  const { info } = document;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(info.title)} API</title>
<link rel="icon" href="data:,">
<style>${DOCS_STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the reference</a>
<div class="page">
<nav aria-label="Contents">${buildContents(document)}</nav>
<main id="content">
<h1>${escape(info.title)} API</h1>
<p class="lead">${escape(info.summary)}</p>
<p>${inline(info.description)} The machine-readable form of this page is <a href="/openapi.json">openapi.json</a>.</p>
${document.tags.map((tag) => buildTag(document, tag, origin)).join("\n")}
${buildSchemas(document)}
</main>
</div>
</body>
</html>
`;
}

function buildContents(document: OpenApiDocument): string {
  const groups = document.tags.map((tag) => {
    const links = listOperations(document, tag.name).map(
      ({ method, operation }) =>
        `<li><a href="#${operation.operationId}"><span class="method ${method}">${method}</span> ${escape(operation.summary)}</a></li>`,
    );
    return `<h2>${escape(tag.name)}</h2><ul>${links.join("")}</ul>`;
  });
  const schemas = Object.keys(document.components.schemas).map((name) => `<li><a href="#schema-${name}">${escape(name)}</a></li>`);
  return `<a class="brand" href="#content">${escape(document.info.title)}</a>${groups.join("")}<h2>Schemas</h2><ul>${schemas.join("")}</ul>`;
}

function buildTag(document: OpenApiDocument, tag: { name: string; description: string }, origin: string): string {
  const articles = listOperations(document, tag.name).map((placed) => buildArticle(placed, origin));
  return `<section><h2>${escape(tag.name)}</h2><p>${inline(tag.description)}</p>${articles.join("\n")}</section>`;
}

function buildArticle(placed: PlacedOperation, origin: string): string {
  const { method, path, operation } = placed;
  const responses = Object.entries(operation.responses);
  const parts = [
    `<h3>${escape(operation.summary)}</h3>`,
    `<div class="route"><span class="method ${method}">${method}</span> <span>${escape(path)}</span></div>`,
    operation.description === undefined ? "" : `<p>${inline(operation.description)}</p>`,
    buildParameters(operation.parameters ?? []),
    operation.requestBody === undefined ? "" : `<h4>Request body</h4><p>${describeContent(operation.requestBody.content)}</p>`,
    `<h4>Request</h4>${code(buildCurl(placed, origin))}`,
    ...responses.filter(([status]) => Number(status) < 300).map(([status, response]) => buildSuccess(status, response)),
    buildErrors(responses.filter(([status]) => Number(status) >= 300)),
  ];
  return `<article id="${operation.operationId}">${parts.join("\n")}</article>`;
}

function buildParameters(parameters: readonly OpenApiParameter[]): string {
  if (parameters.length === 0) return "";
  const rows = parameters.map(({ name, in: place, required, description, schema }) => {
    const bounds = describeBounds(schema);
    return [
      `<code>${escape(name)}</code>${required ? needed() : ""}`,
      escape(place),
      describeType(schema, link),
      `${inline(description)}${bounds === "" ? "" : ` (${escape(bounds)})`}`,
    ];
  });
  return `<h4>Parameters</h4>${table(["Name", "In", "Type", "Meaning"], rows)}`;
}

function buildSuccess(status: string, response: OpenApiResponse): string {
  const example = Object.entries(response.content ?? {})[0];
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) => [
    `<code>${escape(name)}</code>`,
    inline(header.description),
  ]);
  const type = response.content === undefined ? "" : ` ${describeContent(response.content)}`;
  return [
    `<h4>Answer ${escape(status)}</h4><p>${inline(response.description)}.${type}</p>`,
    headers.length === 0 ? "" : table(["Header", "Meaning"], headers),
    example?.[1].example === undefined ? "" : code(formatExample(example[1].example)),
  ].join("");
}

function buildErrors(responses: readonly (readonly [string, OpenApiResponse])[]): string {
  const rows = responses.map(([status, response]) => [escape(status), inline(response.description).replaceAll("; ", "<br>")]);
  return `<details><summary>Errors</summary>${table(["Status", "Code"], rows)}</details>`;
}

function buildSchemas(document: OpenApiDocument): string {
  const articles = Object.entries(document.components.schemas).map(([name, schema]) => {
    const description = schema.description === undefined ? "" : `<p>${inline(schema.description)}</p>`;
    return `<article id="schema-${name}"><h3>${escape(name)}</h3>${description}${buildFields(schema)}</article>`;
  });
  return `<section><h2>Schemas</h2>${articles.join("\n")}</section>`;
}

function buildFields(schema: JsonSchema): string {
  const rows = listFields(schema, "").map(({ name, isRequired, field }) => {
    const bounds = describeBounds(field);
    const meaning = [inline(field.description ?? ""), escape(bounds)].filter((part) => part !== "").join("; ");
    return [`<code>${escape(name)}</code>${isRequired ? needed() : ""}`, describeType(field, link), meaning];
  });
  if (rows.length === 0) return `<p>${describeType(schema, link)}</p>`;
  return table(["Field", "Type", "Meaning"], rows);
}

/** Fields of an object and of the objects within it, by dotted names. */
function listFields(schema: JsonSchema, prefix: string): { name: string; isRequired: boolean; field: JsonSchema }[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const isRequired = schema.required?.includes(name) ?? false;
    return [{ name: `${prefix}${name}`, isRequired, field }, ...listFields(field, `${prefix}${name}.`)];
  });
}

function describeContent(content: OpenApiContent): string {
  return Object.entries(content)
    .map(([type, { schema }]) => `<code>${escape(type)}</code>: ${describeType(schema, link)}`)
    .join(", or ");
}

function formatExample(example: unknown): string {
  return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}

function link(name: string): string {
  return `<a href="#schema-${name}">${escape(name)}</a>`;
}

function needed(): string {
  return `<span class="needed">required</span>`;
}

function code(text: string): string {
  return `<pre tabindex="0"><code>${escape(text)}</code></pre>`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]) => `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table><thead>${cells("th", head)}</thead><tbody>${rows.map((row) => cells("td", row)).join("")}</tbody></table></div>`;
}

/** Escaped text whose parts between backticks are code. */
function inline(text: string): string {
  return escape(text).replace(/`([^`]*)`/g, "<code>$1</code>");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}
