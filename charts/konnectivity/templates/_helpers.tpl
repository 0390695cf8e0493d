{{/* Labels of an object. Argument: (dict "root" $ "name" NAME); without a name the object belongs to no program. */}}
{{- define "konnectivity.labels" -}}
{{- with .name }}
k8s-app: {{ . }}
{{- end }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Image of a program. Argument: (dict "root" $ "program" "agent" or "server"). */}}
{{- define "konnectivity.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{- $made := printf "%s/proxy-%s:%s" (trimSuffix "/" $image.repository) .program $tag -}}
{{- default $made (index .root.Values .program).image -}}
{{- end -}}

{{/* Flags as text, with extraArgs over them. Argument: (dict "flags" DICT "extra" DICT). */}}
{{- define "konnectivity.flags" -}}
{{- $flags := deepCopy .flags -}}
{{- range $flag, $value := .extra -}}
{{- $text := kindIs "float64" $value | ternary (printf "%.0f" (float64 $value)) (toString $value) -}}
{{- $_ := set $flags $flag $text -}}
{{- end -}}
{{- toYaml $flags -}}
{{- end -}}

{{/* Arguments of a program, sorted. Argument: its flags as a dictionary. */}}
{{- define "konnectivity.args" -}}
{{- $args := list -}}
{{- range $flag, $value := . -}}
{{- $args = append $args (printf "%s=%s" $flag $value) -}}
{{- end -}}
{{- toYaml (sortAlpha $args) -}}
{{- end -}}

{{- define "konnectivity.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "konnectivity.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{/* Probe of a health port. Argument: (dict "path" PATH "port" PORT "delay" S "timeout" S "period" S "host" HOST). */}}
{{- define "konnectivity.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  scheme: HTTP
  {{- with .host }}
  host: {{ . }}
  {{- end }}
initialDelaySeconds: {{ .delay }}
timeoutSeconds: {{ default 5 .timeout }}
periodSeconds: {{ default 10 .period }}
successThreshold: 1
failureThreshold: 3
{{- end -}}

{{/* Affinity that spreads the pods of a Deployment over nodes where possible. Argument: its name. */}}
{{- define "konnectivity.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        labelSelector:
          matchLabels:
            k8s-app: {{ . }}
        topologyKey: kubernetes.io/hostname
{{- end -}}

{{/* A role and its binding. Argument: (dict "root" $ "name" N "namespace" NS "group" G "resource" R "verbs" LIST "subject" DICT). */}}
{{- define "konnectivity.granted" -}}
{{- $kind := empty .namespace | ternary "ClusterRole" "Role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "konnectivity.labels" (dict "root" .root) | nindent 4 }}
rules:
  - apiGroups: [{{ .group | quote }}]
    resources: [{{ .resource }}]
    verbs: {{ toJson .verbs }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "konnectivity.labels" (dict "root" .root) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  - {{ toJson .subject }}
{{- end -}}

{{/* "true" if the release has the rights of server and agent. */}}
{{- define "konnectivity.hasRights" -}}
{{- $own := and .Values.server.enabled .Values.server.useServiceAccount -}}
{{- if and .Values.rbac.create (or .Values.agent.enabled $own) -}}true{{- end -}}
{{- end -}}

{{/* "true" if the release has a server of the given kind. Argument: (dict "root" $ "kind" KIND). */}}
{{- define "konnectivity.serverIs" -}}
{{- if and .root.Values.server.enabled (eq .root.Values.server.kind .kind) -}}true{{- end -}}
{{- end -}}
