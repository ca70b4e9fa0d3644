{{/* Labels of every object. Argument: the root. */}}
{{- define "seta.labels" -}}
app.kubernetes.io/part-of: seta
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The image reference of a program. Arguments: root, image (repository, tag). */}}
{{- define "seta.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Where the API server is, where the value says so: there may be nothing yet that serves kubernetes.default. */}}
{{- define "seta.apiServer" -}}
{{- with .Values.k8sServiceHost }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
{{- end }}
{{- with .Values.k8sServicePort }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Pods start again when their configuration changes: neither program reads it twice. */}}
{{- define "seta.configChecksum" -}}
{{ include (print .Template.BasePath "/configmap.yaml") . | sha256sum }}
{{- end }}
