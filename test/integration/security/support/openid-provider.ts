import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWK } from "jose";

export const AUDIENCE = "kube-serverless";
const CLIENT = { id: "ci-bot", secret: "the secret of the client" };

/** A key pair as the provider wants it: private, with its algorithm and id. */
export async function makeKey(alg: "RS256" | "ES256" | "EdDSA", kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, kid, use: "sig" };
}

export interface ProviderOptions {
  /** The first one of an algorithm signs. */
  keys: readonly JWK[];
  /** Taken again after a stop; free ones otherwise. */
  port?: number;
  /** Beside the standard ones. */
  claims?: Record<string, unknown>;
  tokenSeconds?: number;
  audience?: string;
}

/** A certified OpenID provider on loopback. */
export interface OpenIdProvider {
  issuer: string;
  port: number;
  /** Paths that were asked for. */
  requests: string[];
  /** An access token by the client credentials grant, as a JWT signed with this algorithm. */
  token(alg?: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startOpenIdProvider({
  keys,
  port = 0,
  claims = {},
  tokenSeconds = 300,
  audience = AUDIENCE,
}: ProviderOptions): Promise<OpenIdProvider> {
  const requests: string[] = [];
  let handle: ((req: unknown, res: unknown) => void) | undefined;
  const server: Server = createServer((req, res) => {
    requests.push(req.url ?? "");
    // Else the next provider on this port would be asked over a connection to this one.
    res.setHeader("Connection", "close");
    handle?.(req, res);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  // A test that fails must not wait for it.
  server.unref();
  const bound = (server.address() as AddressInfo).port;
  const issuer = `http://127.0.0.1:${bound}`;
  handle = await createHandler(issuer, { keys, claims, tokenSeconds, audience });
  return {
    issuer,
    port: bound,
    requests,
    token: (alg = "RS256") => requestToken(issuer, alg),
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function createHandler(issuer: string, { keys, claims, tokenSeconds, audience }: Required<Omit<ProviderOptions, "port">>) {
  // The package has no types.
  const packageName: string = "oidc-provider";
  const { default: Provider } = await import(packageName);
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
    extraTokenClaims: () => claims,
    ttl: { ClientCredentials: tokenSeconds },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: "call deploy",
          audience,
          accessTokenTTL: tokenSeconds,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: resource.split(":").at(-1) } },
        }),
      },
    },
  });
  return provider.callback() as (req: unknown, res: unknown) => void;
}

async function requestToken(issuer: string, alg: string): Promise<string> {
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { Authorization: `Basic ${Buffer.from(`${CLIENT.id}:${encodeURIComponent(CLIENT.secret)}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: "call deploy", resource: `urn:kube-serverless:${alg}` }),
  });
  const answer = (await response.json()) as { access_token?: string };
  if (answer.access_token === undefined) throw new Error(`no token: ${JSON.stringify(answer)}`);
  return answer.access_token;
}
