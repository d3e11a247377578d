# Replicas of Go functions, which wait without a program: docker build -f deploy/images/go.Dockerfile .
ARG BASE=docker.io/library/golang:1.19-alpine

FROM ${BASE} AS launcher
ENV CGO_ENABLED=0 GOFLAGS=-mod=mod GOPROXY=off
WORKDIR /src
COPY runtimes/go ./
RUN go build -ldflags='-s -w' -o /launcher ./podlauncher

# A Go program needs nothing beside it but authorities and time zones.
FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Kube-Serverless runtime for Go" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  io.kube-serverless.sbom="none: nothing but the Go standard library and files of this project"
COPY --from=launcher /launcher /launcher
COPY --from=launcher /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=launcher /usr/local/go/lib/time/zoneinfo.zip /usr/local/go/lib/time/
USER 65534:65534
EXPOSE 7070
ENTRYPOINT ["/launcher"]
