# Replicas of Python functions: docker build -f deploy/images/python.Dockerfile .
ARG BASE=docker.io/library/python:3.9-alpine

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Kube-Serverless runtime for Python" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  io.kube-serverless.sbom="none: nothing but the base and files of this project"
COPY runtimes/python /opt/kube-serverless/python
# Bytecode beside the sources, as replicas write none.
RUN python3 -m compileall -q /opt/kube-serverless/python
USER 65534:65534
EXPOSE 7070
ENTRYPOINT ["/bin/sh", "/opt/kube-serverless/python/start-in-pod.sh"]
