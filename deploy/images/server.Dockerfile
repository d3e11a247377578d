# The server, for Kubernetes: docker build -f deploy/images/server.Dockerfile .
ARG BASE=docker.io/library/node:24-alpine

FROM ${BASE} AS dependencies
WORKDIR /app
COPY .npmrc package.json package-lock.json ./
COPY packages/contracts/package.json packages/contracts/
COPY packages/server/package.json packages/server/
# Optional packages are other versions of Node.js, for machines without them.
RUN npm ci --omit=dev --omit=optional --no-progress \
  && npm sbom --package-lock-only --omit=dev --omit=optional --sbom-format=spdx > sbom.spdx.json

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Kube-Serverless server" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  io.kube-serverless.sbom="/app/sbom.spdx.json"
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=dependencies /app/sbom.spdx.json ./
COPY LICENSE package.json ./
COPY packages packages
ENV NODE_ENV=production NODE_COMPILE_CACHE=/app/.compiled
# Half of a start is compiling.
RUN node --disable-warning=ExperimentalWarning --input-type=module --eval 'await import("/app/packages/server/src/platform/kubernetes.ts")'
USER 10001:10001
EXPOSE 8080 8081 9090
ENTRYPOINT ["node", "--min-semi-space-size=16", "--disable-warning=ExperimentalWarning", "packages/server/src/main.ts"]
CMD ["--help"]
