{{/* Flags of the agent. */}}
{{- define "konnectivity.agent.flags" -}}
{{- $agent := .Values.agent -}}
{{- $ca := empty $agent.ca | ternary "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" "/etc/konnectivity/ca/ca.crt" -}}
{{- $flags := dict
  "--proxy-server-host" (join "," $agent.servers)
  "--proxy-server-port" (toString $agent.port)
  "--ca-cert" $ca
  "--service-account-token-path" "/var/run/secrets/tokens/konnectivity-agent-token"
  "--health-server-port" "8093"
  "--admin-server-port" "8094"
-}}
{{- if .Values.leases.enabled -}}
{{- $_ := set $flags "--count-server-leases" "true" -}}
{{- $_ := set $flags "--lease-namespace" .Values.leases.namespace -}}
{{- end -}}
{{- include "konnectivity.flags" (dict "flags" $flags "extra" $agent.extraArgs) -}}
{{- end -}}

{{/* "true" if the agent counts leases, for which it needs a token for the Kubernetes API. */}}
{{- define "konnectivity.agent.countsLeases" -}}
{{- $flags := include "konnectivity.agent.flags" . | fromYaml -}}
{{- $off := list "false" "False" "FALSE" "f" "F" "0" -}}
{{- if and (hasKey $flags "--count-server-leases") (not (has (get $flags "--count-server-leases") $off)) -}}true{{- end -}}
{{- end -}}

{{/* "true" if the pod mounts the CA of the cluster where the kubelet would put it beside a token for the API. */}}
{{- define "konnectivity.agent.mountsClusterCa" -}}
{{- if not (or (include "konnectivity.agent.countsLeases" .) .Values.agent.ca) -}}true{{- end -}}
{{- end -}}

{{/* Resources of the agent: the default request of memory is larger for an agent that counts leases. */}}
{{- define "konnectivity.agent.resources" -}}
{{- $made := deepCopy .Values.agent.resources -}}
{{- if and (include "konnectivity.agent.countsLeases" .) (eq (toJson $made.requests) `{"cpu":"20m","memory":"32Mi"}`) -}}
{{- $_ := set $made.requests "memory" "48Mi" -}}
{{- end -}}
{{- toYaml $made -}}
{{- end -}}

{{- define "konnectivity.agent.mounts" -}}
- name: konnectivity-agent-token
  mountPath: /var/run/secrets/tokens
  readOnly: true
{{- if include "konnectivity.agent.mountsClusterCa" . }}
- name: cluster-ca
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- if .Values.agent.ca }}
- name: konnectivity-ca
  mountPath: /etc/konnectivity/ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "konnectivity.agent.volumes" -}}
- name: konnectivity-agent-token
  projected:
    sources:
      - serviceAccountToken:
          path: konnectivity-agent-token
          audience: system:konnectivity-server
          expirationSeconds: 3600
{{- if include "konnectivity.agent.mountsClusterCa" . }}
- name: cluster-ca
  projected:
    sources:
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- if .Values.agent.ca }}
- name: konnectivity-ca
  configMap:
    name: konnectivity-ca
{{- end }}
{{- end -}}

{{/* Fields of a pod at an agent's place: where it runs, as whom, with which files. */}}
{{- define "konnectivity.agent.place" -}}
{{- $agent := .Values.agent -}}
serviceAccountName: konnectivity-agent
{{- if not (include "konnectivity.agent.countsLeases" .) }}
automountServiceAccountToken: false
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $agent.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with $agent.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $agent.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $agent.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "konnectivity.podSecurity" . | nindent 2 }}
enableServiceLinks: false
volumes:
  {{- include "konnectivity.agent.volumes" . | nindent 2 }}
{{- end -}}

{{/* Specification of the agent's pod. */}}
{{- define "konnectivity.agent.pod" -}}
{{- $agent := .Values.agent -}}
{{- $flags := include "konnectivity.agent.flags" . | fromYaml -}}
{{- $health := get $flags "--health-server-port" -}}
{{ include "konnectivity.agent.place" . }}
{{- if $agent.affinity }}
affinity:
  {{- toYaml $agent.affinity | nindent 2 }}
{{- else if eq $agent.kind "Deployment" }}
affinity:
  {{- include "konnectivity.apart" "konnectivity-agent" | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: 30
containers:
  - name: konnectivity-agent
    image: {{ include "konnectivity.image" (dict "root" . "program" "agent") }}
    {{- with .Values.image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    command: [/proxy-agent]
    args:
      {{- include "konnectivity.args" $flags | nindent 6 }}
    ports:
      - name: healthport
        containerPort: {{ $health }}
        protocol: TCP
    livenessProbe:
      {{- include "konnectivity.probe" (dict "path" "/healthz" "port" $health "delay" 15 "timeout" 15) | nindent 6 }}
    readinessProbe:
      {{- include "konnectivity.probe" (dict "path" "/readyz" "port" $health "delay" 3 "period" 3) | nindent 6 }}
    resources:
      {{- include "konnectivity.agent.resources" . | nindent 6 }}
    securityContext:
      {{- include "konnectivity.containerSecurity" . | nindent 6 }}
    volumeMounts:
      {{- include "konnectivity.agent.mounts" . | nindent 6 }}
{{- end -}}
