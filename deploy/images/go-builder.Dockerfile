# Compiles Go functions: docker build -f deploy/images/go-builder.Dockerfile .
ARG BASE=docker.io/library/golang:1.19-alpine
# Runs the code of the server that makes the toolkit; nothing of it is in the image.
ARG NODE=docker.io/library/node:24-alpine
ARG SYSTEM=docker.io/library/alpine:3.22

FROM ${BASE} AS builder
ENV CGO_ENABLED=0 GOFLAGS=-mod=mod GOPROXY=off
WORKDIR /src
COPY runtimes/go ./
RUN go build -ldflags='-s -w' -o /builder ./builder

FROM ${NODE} AS toolkit
WORKDIR /app
COPY --from=builder /usr/local/go /usr/local/go
COPY package.json ./
COPY packages packages
COPY runtimes/go runtimes/go
COPY deploy/images/make-go-toolkit.ts deploy/images/
# Imports between packages are by name.
RUN mkdir -p node_modules/@kube-serverless /toolkit && ln -s /app/packages/contracts node_modules/@kube-serverless/contracts \
  && node --disable-warning=ExperimentalWarning deploy/images/make-go-toolkit.ts /usr/local/go/bin/go runtimes/go /toolkit/go

# Compiler and linker are in the toolkit; build.sh wants a shell.
FROM ${SYSTEM}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Kube-Serverless builder for Go" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  io.kube-serverless.sbom="none: nothing but the base, the Go toolchain and files of this project"
COPY --from=builder /builder /builder
COPY --from=toolkit /toolkit/go /opt/kube-serverless/go
ENV KS_GO_TOOLKIT=/opt/kube-serverless/go
USER 65534:65534
EXPOSE 7070
ENTRYPOINT ["/builder"]
