{{/* Fail with one text that has every mistake which the schema of the values cannot find. */}}
{{- define "konnectivity.check" -}}
{{- $agent := .Values.agent -}}
{{- $server := .Values.server -}}
{{- $wrong := list -}}
{{- range $program := list "agent" "server" -}}
{{- $of := index $.Values $program -}}
{{- if and $of.enabled (not $of.image) (not $.Values.image.repository) -}}
{{- $wrong = append $wrong (printf "image.repository is empty, and so is %s.image: this project has no registry of its own. Push the images (docs/start/images.md), and give their registry and path: --set image.repository=registry.example.com/konnectivity" $program) -}}
{{- end -}}
{{- end -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.enabled (not $server.enabled) (not $server.image) (not .Values.image.repository) -}}
{{- $wrong = append $wrong "image.repository is empty, and so is server.image, which the gateway runs: this project has no registry of its own" -}}
{{- end -}}
{{- if and $gateway.autoscaling.enabled (le (int $gateway.autoscaling.maxReplicas) (int $gateway.replicas)) -}}
{{- $wrong = append $wrong (printf "gateway.autoscaling.maxReplicas is %v: it must be above gateway.replicas, %v" $gateway.autoscaling.maxReplicas $gateway.replicas) -}}
{{- end -}}
{{- if and $gateway.service.nodePort (ne $gateway.service.type "NodePort") -}}
{{- $wrong = append $wrong (printf "gateway.service.nodePort is %v: it is for gateway.service.type NodePort, not %s" $gateway.service.nodePort $gateway.service.type) -}}
{{- end -}}
{{- if not (or $agent.enabled $server.enabled $gateway.enabled) -}}
{{- $wrong = append $wrong "agent.enabled, server.enabled and gateway.enabled are false: nothing would be installed" -}}
{{- end -}}
{{- if and $agent.enabled (not $agent.servers) -}}
{{- $wrong = append $wrong "agent.servers is empty: name the servers that agents dial, for example --set 'agent.servers={konnectivity.example.com}'" -}}
{{- end -}}
{{- if and (eq $agent.kind "DaemonSet") $agent.replicas -}}
{{- $wrong = append $wrong (printf "agent.replicas is %v: it is for agent.kind Deployment; a DaemonSet has one agent on each node" $agent.replicas) -}}
{{- end -}}
{{- if and (include "konnectivity.serverIs" (dict "root" $ "kind" "Sidecar")) $server.useServiceAccount -}}
{{- $wrong = append $wrong "server.useServiceAccount is true: a Sidecar runs in the pod of kube-apiserver, so give it server.kubeconfigSecret" -}}
{{- end -}}
{{- if and .Values.service.nodePort (ne .Values.service.type "NodePort") -}}
{{- $wrong = append $wrong (printf "service.nodePort is %v: it is for service.type NodePort, not %s" .Values.service.nodePort .Values.service.type) -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n* %s\n" (join "\n* " $wrong)) -}}
{{- end -}}
{{- end -}}
