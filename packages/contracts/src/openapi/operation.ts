import type { z } from "zod";
import type { ErrorCode } from "../error.ts";

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  description: string;
  schema: object;
  required?: boolean;
  example?: unknown;
}

/** A body in one media type. */
export interface Content {
  type: string;
  schema: z.ZodType | object;
  example?: unknown;
}

export interface Answer {
  description: string;
  content?: Content;
  /** Further media types of the same answer. */
  alternatives?: readonly Content[];
  headers?: Readonly<Record<string, string>>;
}

/** One operation of the API, as the document and the docs page show it. */
export interface Operation {
  method: "get" | "post" | "put" | "delete";
  path: string;
  id: string;
  tag: string;
  summary: string;
  description?: string;
  parameters?: readonly Parameter[];
  body?: Content & { description?: string; required: boolean };
  /** Query parameters of others are passed over. @default refused */
  ignoresQuery?: boolean;
  answers: Readonly<Record<number, Answer>>;
  /** Nobody needs a key for it. */
  isOpen?: boolean;
  /** Beside those that every operation may answer. */
  errors?: readonly ErrorCode[];
}
