import { declareOption } from "./option.ts";
import { parseAdminKey, parseAdminKeyFile, parseMaxConcurrency, parseOidcConfigFile, parseRateLimit } from "./security-values.ts";
import { parseSwitch } from "./values.ts";

/** Who may call, and how often. */
export const SECURITY_OPTIONS = {
  auth: declareOption("auth", {
    group: "Access",
    help: "Asks every caller for an API key or a token; the first start prints an admin key once. Needed to listen beyond loopback.",
    default: "false",
    parse: parseSwitch,
  }),
  adminKey: declareOption("admin-key", {
    group: "Access",
    placeholder: "KEY",
    help: "An admin key of your own, 32 characters or more, instead of one that is made and printed.",
    isSecret: true,
    default: "",
    parse: parseAdminKey,
  }),
  adminKeyOfFile: declareOption("admin-key-file", {
    group: "Access",
    placeholder: "FILE",
    help: "File that holds the admin key.",
    default: "",
    parse: parseAdminKeyFile,
  }),
  oidc: declareOption("oidc-config", {
    group: "Access",
    placeholder: "FILE",
    help: "JSON file of OpenID issuers whose tokens are taken, and the roles that their claims give.",
    default: "",
    parse: parseOidcConfigFile,
  }),
  callerRateLimit: declareOption("caller-rate-limit", {
    group: "Access",
    placeholder: "RATE[:BURST]",
    help: "Calls a second of one caller, such as 100 or 100:200 at once: of a key or a token's subject, else of an address. A key's own limit wins.",
    default: "",
    parse: parseRateLimit,
  }),
  callerMaxConcurrency: declareOption("caller-max-concurrency", {
    group: "Access",
    placeholder: "N",
    help: "Calls at once of one caller.",
    default: "",
    parse: parseMaxConcurrency,
  }),
  globalRateLimit: declareOption("global-rate-limit", {
    group: "Access",
    placeholder: "RATE[:BURST]",
    help: "Calls a second of all callers together.",
    default: "",
    parse: parseRateLimit,
  }),
  globalMaxConcurrency: declareOption("global-max-concurrency", {
    group: "Access",
    placeholder: "N",
    help: "Calls at once of all callers together.",
    default: "",
    parse: parseMaxConcurrency,
  }),
} as const;
