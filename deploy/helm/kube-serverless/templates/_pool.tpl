{{/*
ks.pool: a Deployment of waiting pods, of a dictionary of root, name, runtime, image, memory, network and isBuilder.
Without spec.replicas, which the leader sets: an upgrade would set it back.

The label kube-serverless.io/pool is the selector, and a claim takes it away; the others stay, and NetworkPolicies select by them.
*/}}
{{- define "ks.pool" }}
{{- $replicas := .root.Values.replicas }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: pool-{{ .name }}
  namespace: {{ .root.Values.functions.namespace }}
  labels:
    {{- include "ks.labels" .root | nindent 4 }}
    {{- include "ks.poolLabels" . | nindent 4 }}
  annotations:
    # What the leader keeps waiting at least.
    kube-serverless.io/pool-size: {{ ternary 1 .root.Values.pools.size .isBuilder | quote }}
spec:
  # A pool that is short of pods for a moment costs a cold start, two pods' memory on each node cost more.
  strategy:
    rollingUpdate: { maxSurge: 1, maxUnavailable: 50% }
  revisionHistoryLimit: 1
  selector:
    matchLabels:
      kube-serverless.io/pool: {{ .name }}
  template:
    metadata:
      labels:
        {{- include "ks.poolLabels" . | nindent 8 }}
      annotations:
        cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
    spec:
      serviceAccountName: kube-serverless-replica
      automountServiceAccountToken: false
      enableServiceLinks: false
      # The first process of a namespace ignores a SIGTERM that comes before it listens for one: the pod would stay for its whole grace.
      shareProcessNamespace: true
      {{- include "ks.pullSecrets" .root | nindent 6 }}
      {{- with $replicas.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- if not $replicas.hostUsers }}
      hostUsers: false
      {{- end }}
      {{- with $replicas.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      terminationGracePeriodSeconds: {{ .root.Values.server.gracePeriodSeconds }}
      securityContext:
        {{- include "ks.podSecurity" 65534 | nindent 8 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: { matchLabels: { kube-serverless.io/pool: {{ .name }} } }
      {{- with $replicas.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $replicas.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $replicas.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: replica
          image: {{ include "ks.image" (list .root .image) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          # So that a failure tells its last lines in the pod's status.
          terminationMessagePolicy: FallbackToLogsOnError
          env:
            - { name: KS_LISTEN, value: {{ $replicas.listen | quote }} }
            - { name: KS_POD_UID, valueFrom: { fieldRef: { fieldPath: metadata.uid } } }
            - { name: KS_POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
            - { name: KS_GATEWAY_KEYS, value: /etc/kube-serverless/keys/keys.json }
            - { name: KS_MEMORY_MIB, value: {{ .memory | quote }} }
          ports:
            - { name: frames, containerPort: 7070 }
          # Says that it is warm and listens; nothing probes it later.
          startupProbe:
            tcpSocket: { port: frames }
            periodSeconds: 1
            failureThreshold: 60
          resources:
            requests:
              {{- toYaml $replicas.requests | nindent 14 }}
            # No limit of CPU: it would stretch every start.
            limits: { memory: {{ .memory }}Mi }
          securityContext:
            {{- include "ks.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - { name: tmp, mountPath: /tmp }
            - { name: keys, mountPath: /etc/kube-serverless/keys, readOnly: true }
      volumes:
        # In memory: a full one on disk would have the pod evicted.
        - { name: tmp, emptyDir: { medium: Memory, sizeLimit: {{ ternary .root.Values.pools.builderScratchSize $replicas.scratchSize .isBuilder }} } }
        # Public keys alone. A gateway makes it at its first start.
        - { name: keys, configMap: { name: kube-serverless-gateway-keys } }
{{- end }}

{{- define "ks.poolLabels" -}}
app.kubernetes.io/name: kube-serverless
app.kubernetes.io/component: {{ ternary "builder" "replica" .isBuilder }}
kube-serverless.io/pool: {{ .name }}
kube-serverless.io/runtime: {{ .runtime }}
kube-serverless.io/memory: {{ .memory | quote }}
kube-serverless.io/network: {{ .network }}
{{- end }}
