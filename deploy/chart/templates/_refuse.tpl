{{/* Values that are right one by one and cannot work together. Called first by the ConfigMap. Argument: the root. */}}
{{- define "seta.refuse" -}}
{{- if ne .Values.routingMode "native" }}
  {{- if ne .Values.loadBalancer.mode "snat" }}
    {{- fail (printf "loadBalancer.mode=%s needs routingMode=native: under a tunnel the backend's node cannot answer a client with the Service's address" .Values.loadBalancer.mode) }}
  {{- end }}
  {{- if ne .Values.loadBalancer.acceleration "disabled" }}
    {{- fail (printf "loadBalancer.acceleration=%s needs routingMode=native: XDP comes before the tunnel is taken off" .Values.loadBalancer.acceleration) }}
  {{- end }}
  {{- if .Values.bpf.lbModeAnnotation }}
    {{- fail "bpf.lbModeAnnotation=true needs routingMode=native: under a tunnel there is no mode but snat" }}
  {{- end }}
{{- end }}
{{- $ports := splitList "," .Values.nodePort.range }}
{{- $first := first $ports | atoi }}
{{- $last := last $ports | atoi }}
{{- if or (lt $first 1) (gt $last 65535) (gt $first $last) }}
  {{- fail (printf "nodePort.range=%s is no range of ports: write the first and the last, as 30000,32767" .Values.nodePort.range) }}
{{- end }}
{{- $lease := include "seta.milliseconds" .Values.l2announcements.leaseDuration | atoi }}
{{- $deadline := include "seta.milliseconds" .Values.l2announcements.leaseRenewDeadline | atoi }}
{{- $retry := include "seta.milliseconds" .Values.l2announcements.leaseRetryPeriod | atoi }}
{{- if le $lease $deadline }}
  {{- fail (printf "l2announcements.leaseDuration=%s must be longer than leaseRenewDeadline=%s: a node must have stopped answering before another starts" .Values.l2announcements.leaseDuration .Values.l2announcements.leaseRenewDeadline) }}
{{- end }}
{{- if le (mul 10 $deadline) (mul 12 $retry) }}
  {{- fail (printf "l2announcements.leaseRenewDeadline=%s must be more than 1.2 times leaseRetryPeriod=%s: one late renewal would end the announcements" .Values.l2announcements.leaseRenewDeadline .Values.l2announcements.leaseRetryPeriod) }}
{{- end }}
{{- if le $retry 0 }}
  {{- fail "l2announcements.leaseRetryPeriod must be longer than 0s" }}
{{- end }}
{{- end }}

{{/* A duration such as 15s or 1m500ms as a number. */}}
{{- define "seta.milliseconds" -}}
{{- $start := toDate "2006-01-02" "2020-01-01" }}
{{- $end := mustDateModify . $start }}
{{- add (mul 1000 (sub (unixEpoch $end | atoi) (unixEpoch $start | atoi))) (last (splitList "." (date "05.000" $end)) | atoi) }}
{{- end }}
