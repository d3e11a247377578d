{{/* The functions of these templates. What is unique in a cluster has a fixed name: one release a cluster. */}}

{{- define "ks.labels" -}}
app.kubernetes.io/name: kube-serverless
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: kube-serverless
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "ks.serverSelector" -}}
app.kubernetes.io/name: kube-serverless
app.kubernetes.io/component: server
{{- end }}

{{/* ks.image: list of the root and the image's name. */}}
{{- define "ks.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- printf "%s/%s/%s:%s" $image.registry $image.repository (index . 1) (default $root.Chart.AppVersion $image.tag) -}}
{{- end }}

{{- define "ks.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What Pod Security "restricted" asks of a container, and a read-only root. */}}
{{- define "ks.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* ks.podSecurity: the user's id. */}}
{{- define "ks.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* Its own addresses, which functions must not reach though they may be public ones. */}}
{{- define "ks.apiServerAddresses" -}}
{{- $addresses := list -}}
{{- with lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
{{- range .endpoints }}{{ $addresses = concat $addresses .addresses }}{{ end -}}
{{- end -}}
{{- with lookup "v1" "Service" "default" "kubernetes" -}}
{{- $addresses = concat $addresses .spec.clusterIPs -}}
{{- end -}}
{{- $addresses | uniq | toJson -}}
{{- end }}
