{{/* Number of pods of the gateway, which agents are told; those that the autoscaler adds tell their peer servers. */}}
{{- define "konnectivity.gateway.count" -}}
{{- $gateway := .Values.gateway -}}
{{- and $gateway.autoscaling.enabled (not $gateway.peers.enabled) | ternary $gateway.autoscaling.maxReplicas $gateway.replicas | toString -}}
{{- end -}}

{{/* Flags of the gateway. */}}
{{- define "konnectivity.gateway.flags" -}}
{{- $gateway := .Values.gateway -}}
{{- $flags := dict
  "--admin-port" "8133"
  "--agent-port" (toString $gateway.port)
  "--cluster-cert" "/etc/konnectivity/tls/tls.crt"
  "--cluster-key" "/etc/konnectivity/tls/tls.key"
  "--health-port" "8134"
  "--mode" "grpc,http-connect"
  "--server-cert" "/etc/konnectivity/tls/tls.crt"
  "--server-count" (include "konnectivity.gateway.count" .)
  "--server-key" "/etc/konnectivity/tls/tls.key"
  "--server-port" (toString $gateway.port)
  "--tenants" "/etc/konnectivity/tenants"
-}}
{{- if $gateway.peers.enabled -}}
{{- $_ := set $flags "--peer-ca-cert" "/etc/konnectivity/peers/ca.crt" -}}
{{- $_ := set $flags "--peer-cert" "/etc/konnectivity/peers/tls.crt" -}}
{{- $_ := set $flags "--peer-key" "/etc/konnectivity/peers/tls.key" -}}
{{- $_ := set $flags "--peer-port" "8135" -}}
{{- $_ := set $flags "--peers" (printf "konnectivity-gateway-peers.%s.svc:8135" .Release.Namespace) -}}
{{- end -}}
{{- if $gateway.adminTokenSecret -}}
{{- $_ := set $flags "--admin-token-file" "/etc/konnectivity/admin/tokens" -}}
{{- end -}}
{{- include "konnectivity.flags" (dict "flags" $flags "extra" $gateway.extraArgs) -}}
{{- end -}}

{{/* Specification of the gateway's pod. */}}
{{- define "konnectivity.gateway.pod" -}}
{{- $gateway := .Values.gateway -}}
{{- $flags := include "konnectivity.gateway.flags" . | fromYaml -}}
{{- $health := get $flags "--health-port" -}}
serviceAccountName: konnectivity-gateway
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  {{- toYaml $gateway.nodeSelector | nindent 2 }}
{{- with $gateway.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- if $gateway.affinity }}
  {{- toYaml $gateway.affinity | nindent 2 }}
{{- else }}
  {{- include "konnectivity.apart" "konnectivity-gateway" | nindent 2 }}
{{- end }}
securityContext:
  {{- include "konnectivity.podSecurity" . | nindent 2 }}
terminationGracePeriodSeconds: 35
enableServiceLinks: false
containers:
  - name: konnectivity-server
    image: {{ include "konnectivity.image" (dict "root" . "program" "server") }}
    {{- with .Values.image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    command: [/proxy-server]
    args:
      {{- include "konnectivity.args" $flags | nindent 6 }}
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
      {{- if $gateway.peers.enabled }}
      - name: peerport
        containerPort: {{ get $flags "--peer-port" }}
        protocol: TCP
      {{- end }}
    livenessProbe:
      {{- include "konnectivity.probe" (dict "path" "/healthz" "port" $health "delay" 10) | nindent 6 }}
    # Whether the server serves at all. Agents come by the Service, so a pod without agents must be in it.
    readinessProbe:
      {{- include "konnectivity.probe" (dict "path" "/readyz" "port" $health "delay" 3 "period" 3) | nindent 6 }}
    resources:
      {{- toYaml $gateway.resources | nindent 6 }}
    securityContext:
      {{- include "konnectivity.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: konnectivity-tenants
        mountPath: /etc/konnectivity/tenants
        readOnly: true
      - name: konnectivity-gateway-tls
        mountPath: /etc/konnectivity/tls
        readOnly: true
      {{- if $gateway.peers.enabled }}
      - name: konnectivity-gateway-peers
        mountPath: /etc/konnectivity/peers
        readOnly: true
      {{- end }}
      {{- if $gateway.adminTokenSecret }}
      - name: konnectivity-gateway-admin
        mountPath: /etc/konnectivity/admin
        readOnly: true
      {{- end }}
volumes:
  - name: konnectivity-tenants
    projected:
      sources:
        {{- range $shard := until (int $gateway.shards) }}
        - secret:
            name: konnectivity-tenants-{{ $shard }}
            optional: true
        {{- end }}
  - name: konnectivity-gateway-tls
    secret:
      secretName: {{ $gateway.tlsSecret }}
  {{- if $gateway.peers.enabled }}
  - name: konnectivity-gateway-peers
    secret:
      secretName: {{ $gateway.peers.secret }}
  {{- end }}
  {{- with $gateway.adminTokenSecret }}
  - name: konnectivity-gateway-admin
    secret:
      secretName: {{ . }}
  {{- end }}
{{- end -}}
