{{/* "true" if the server's files are in a directory of the host. */}}
{{- define "konnectivity.server.filesOfHost" -}}
{{- if and (eq .Values.server.kind "DaemonSet") .Values.server.files -}}true{{- end -}}
{{- end -}}

{{/* Number of servers that is announced to agents. */}}
{{- define "konnectivity.server.count" -}}
{{- $server := .Values.server -}}
{{- $default := eq $server.kind "Deployment" | ternary $server.replicas 1 -}}
{{- default $default $server.count | toString -}}
{{- end -}}

{{/* Flags of the server. */}}
{{- define "konnectivity.server.flags" -}}
{{- $server := .Values.server -}}
{{- $tls := dict "certificate" "/etc/konnectivity/tls/tls.crt" "key" "/etc/konnectivity/tls/tls.key" "kubeconfig" "/etc/konnectivity/kubeconfig/konnectivity-server.conf" -}}
{{- if include "konnectivity.server.filesOfHost" . -}}
{{- $tls = dict "certificate" (printf "%s/server.crt" $server.files) "key" (printf "%s/server.key" $server.files) "kubeconfig" (printf "%s/konnectivity-server.conf" $server.files) -}}
{{- end -}}
{{- $flags := dict
  "--admin-port" "8133"
  "--agent-namespace" (default .Release.Namespace $server.agentNamespace)
  "--agent-port" (toString $server.port)
  "--agent-service-account" "konnectivity-agent"
  "--authentication-audience" "system:konnectivity-server"
  "--cluster-cert" $tls.certificate
  "--cluster-key" $tls.key
  "--health-port" "8134"
  "--mode" $server.mode
  "--server-count" (include "konnectivity.server.count" .)
  "--server-port" "0"
-}}
{{- if not $server.useServiceAccount -}}
{{- $_ := set $flags "--kubeconfig" $tls.kubeconfig -}}
{{- end -}}
{{- if eq $server.kind "DaemonSet" -}}
{{- $_ := set $flags "--uds-name" (printf "%s/konnectivity-server.socket" $server.sockets) -}}
{{- /* The pod uses the host's network, so every client that reaches the host could reach the health port. */ -}}
{{- $_ := set $flags "--health-bind-address" "127.0.0.1" -}}
{{- else if eq $server.kind "Sidecar" -}}
{{- $_ := set $flags "--uds-name" "/run/konnectivity/konnectivity-server.socket" -}}
{{- else -}}
{{- $_ := set $flags "--server-port" (toString $server.frontend.port) -}}
{{- $_ := set $flags "--server-cert" "/etc/konnectivity/frontend/tls.crt" -}}
{{- $_ := set $flags "--server-key" "/etc/konnectivity/frontend/tls.key" -}}
{{- $_ := set $flags "--server-ca-cert" "/etc/konnectivity/frontend/ca.crt" -}}
{{- end -}}
{{- if .Values.leases.enabled -}}
{{- $_ := set $flags "--enable-lease-controller" "true" -}}
{{- $_ := set $flags "--lease-namespace" .Values.leases.namespace -}}
{{- end -}}
{{- include "konnectivity.flags" (dict "flags" $flags "extra" $server.extraArgs) -}}
{{- end -}}

{{/* "true" if only programs of the same host reach the health port. */}}
{{- define "konnectivity.server.healthOnLoopback" -}}
{{- $flags := include "konnectivity.server.flags" . | fromYaml -}}
{{- if eq (default "" (get $flags "--health-bind-address")) "127.0.0.1" -}}true{{- end -}}
{{- end -}}

{{- define "konnectivity.server.mounts" -}}
{{- if include "konnectivity.server.filesOfHost" . -}}
- name: konnectivity-files
  mountPath: {{ .Values.server.files }}
  readOnly: true
{{- else -}}
- name: konnectivity-server-tls
  mountPath: /etc/konnectivity/tls
  readOnly: true
{{- if not .Values.server.useServiceAccount }}
- name: konnectivity-server-kubeconfig
  mountPath: /etc/konnectivity/kubeconfig
  readOnly: true
{{- end }}
{{- end }}
{{- if eq .Values.server.kind "DaemonSet" }}
- name: konnectivity-uds
  mountPath: {{ .Values.server.sockets }}
{{- else if eq .Values.server.kind "Sidecar" }}
- name: konnectivity-uds
  mountPath: /run/konnectivity
{{- else }}
- name: konnectivity-frontend
  mountPath: /etc/konnectivity/frontend
  readOnly: true
{{- end }}
{{- end -}}

{{- define "konnectivity.server.volumes" -}}
{{- if include "konnectivity.server.filesOfHost" . -}}
- name: konnectivity-files
  hostPath:
    path: {{ .Values.server.files }}
    type: Directory
{{- else -}}
- name: konnectivity-server-tls
  secret:
    secretName: {{ .Values.server.tlsSecret }}
{{- if not .Values.server.useServiceAccount }}
- name: konnectivity-server-kubeconfig
  secret:
    secretName: {{ .Values.server.kubeconfigSecret }}
    defaultMode: 0644
{{- end }}
{{- end }}
{{- if eq .Values.server.kind "DaemonSet" }}
- name: konnectivity-uds
  hostPath:
    path: {{ .Values.server.sockets }}
    type: Directory
{{- else if eq .Values.server.kind "Sidecar" }}
- name: konnectivity-uds
  emptyDir:
    medium: Memory
- name: egress-selector-configuration
  configMap:
    name: {{ .Values.server.egressConfigMap }}
    defaultMode: 0644
{{- else }}
- name: konnectivity-frontend
  secret:
    secretName: {{ .Values.server.frontend.secret }}
{{- end }}
{{- end -}}

{{/* Container of the server. */}}
{{- define "konnectivity.server.container" -}}
{{- $server := .Values.server -}}
{{- $flags := include "konnectivity.server.flags" . | fromYaml -}}
{{- $health := get $flags "--health-port" -}}
{{- $host := eq $server.kind "DaemonSet" | ternary "127.0.0.1" "" -}}
name: konnectivity-server
image: {{ include "konnectivity.image" (dict "root" . "program" "server") }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
command: [/proxy-server]
args:
  {{- include "konnectivity.args" $flags | nindent 2 }}
ports:
  - name: agentport
    containerPort: {{ get $flags "--agent-port" }}
    protocol: TCP
  - name: adminport
    containerPort: {{ get $flags "--admin-port" }}
    protocol: TCP
  - name: healthport
    containerPort: {{ $health }}
    protocol: TCP
  {{- if eq $server.kind "Deployment" }}
  - name: frontend
    containerPort: {{ get $flags "--server-port" }}
    protocol: TCP
  {{- end }}
livenessProbe:
  {{- include "konnectivity.probe" (dict "path" "/healthz" "port" $health "delay" 10 "host" $host) | nindent 2 }}
{{- if ne $server.kind "Sidecar" }}
# Not /readyz, which wants an agent: agents may have to come through a Service that waits for this.
readinessProbe:
  {{- include "konnectivity.probe" (dict "path" "/healthz" "port" $health "delay" 3 "period" 3 "host" $host) | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $server.resources | nindent 2 }}
securityContext:
  {{- include "konnectivity.containerSecurity" . | nindent 2 }}
volumeMounts:
  {{- include "konnectivity.server.mounts" . | nindent 2 }}
{{- end -}}

{{/* Specification of the server's pod, of a DaemonSet or a Deployment. */}}
{{- define "konnectivity.server.pod" -}}
{{- $server := .Values.server -}}
{{- $onHost := eq $server.kind "DaemonSet" -}}
{{- $priority := default ($onHost | ternary "system-node-critical" "") $server.priorityClassName -}}
{{- $nodes := $onHost | ternary (dict "node-role.kubernetes.io/control-plane" "") (dict "kubernetes.io/os" "linux") -}}
{{- $tolerations := $onHost | ternary (list (dict "operator" "Exists")) list -}}
serviceAccountName: konnectivity-server
automountServiceAccountToken: {{ $server.useServiceAccount }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $onHost }}
hostNetwork: true
{{- end }}
{{- with $priority }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  {{- default $nodes $server.nodeSelector | toYaml | nindent 2 }}
{{- with default $tolerations $server.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $server.affinity }}
affinity:
  {{- toYaml $server.affinity | nindent 2 }}
{{- else if not $onHost }}
affinity:
  {{- include "konnectivity.apart" "konnectivity-server" | nindent 2 }}
{{- end }}
securityContext:
  {{- include "konnectivity.podSecurity" . | nindent 2 }}
terminationGracePeriodSeconds: 35
enableServiceLinks: false
containers:
  - {{- include "konnectivity.server.container" . | nindent 4 }}
volumes:
  {{- include "konnectivity.server.volumes" . | nindent 2 }}
{{- end -}}

{{/* Strategic merge patch that puts the server beside a kube-apiserver. It cannot add the flag of kube-apiserver. */}}
{{- define "konnectivity.server.sidecarPatch" -}}
spec:
  template:
    spec:
      containers:
        - {{- include "konnectivity.server.container" . | nindent 10 }}
        - name: kube-apiserver
          volumeMounts:
            - name: konnectivity-uds
              mountPath: /run/konnectivity
            - name: egress-selector-configuration
              mountPath: /etc/kubernetes/konnectivity/configurations
              readOnly: true
      volumes:
        {{- include "konnectivity.server.volumes" . | nindent 8 }}
{{- end -}}
