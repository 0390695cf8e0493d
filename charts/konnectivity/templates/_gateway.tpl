{{/* Largest number of pods of the gateway, which agents are told. */}}
{{- define "konnectivity.gateway.count" -}}
{{- $gateway := .Values.gateway -}}
{{- $gateway.autoscaling.enabled | ternary $gateway.autoscaling.maxReplicas $gateway.replicas | toString -}}
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
{{- end -}}
