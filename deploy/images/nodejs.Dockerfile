# Replicas of Node.js functions: docker build -f deploy/images/nodejs.Dockerfile .
ARG BASE=docker.io/library/node:18-alpine

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Kube-Serverless runtime for Node.js" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  io.kube-serverless.sbom="none: nothing but the base and files of this project"
COPY runtimes/nodejs /opt/kube-serverless/nodejs
USER 65534:65534
EXPOSE 7070
ENTRYPOINT ["/bin/sh", "/opt/kube-serverless/nodejs/start-in-pod.sh"]
