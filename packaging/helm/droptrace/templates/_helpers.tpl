{{- define "droptrace.name" -}}
{{ default .Release.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "droptrace.selector" -}}
app.kubernetes.io/name: droptrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "droptrace.labels" -}}
{{ include "droptrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "droptrace.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- /* Each capability with its use; docs/guide/in-containers.md says what is lost without it. */}}
{{- define "droptrace.capabilities" -}}
- BPF
- PERFMON
- SYSLOG
{{- if .Values.agent.owners }}
- DAC_READ_SEARCH
{{- end }}
{{- if or .Values.dropMonitor (and .Values.counters.enabled .Values.counters.otherNamespaces) }}
- SYS_ADMIN
{{- end }}
{{- if and .Values.hostPID .Values.counters.enabled .Values.counters.otherNamespaces }}
- SYS_PTRACE
{{- end }}
{{- if .Values.dropMonitor }}
- NET_ADMIN
{{- end }}
{{- end }}

{{- define "droptrace.probe" -}}
{{- if .root.Values.webConfig.secretName -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- end }}

{{- define "droptrace.endpoint" -}}
port: metrics
path: /metrics
interval: {{ .interval }}
# The labels namespace, pod and container are those of the dropped packets.
honorLabels: true
{{- if .root.Values.webConfig.tls }}
scheme: https
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
{{- end }}
