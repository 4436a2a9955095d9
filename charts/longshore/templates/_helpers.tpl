{{/* Every name: the release's, of which Helm allows 53 characters, and what of it this is. */}}
{{- define "longshore.name" -}}
{{- printf "%s-%s" .root.Release.Name .part -}}
{{- end -}}

{{/* The queue's name: part of every Job's name and of the label that finds them. */}}
{{- define "longshore.queue" -}}
{{- .Values.queue.name | default (.Release.Name | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{/* What selects one component's pods; never changes, as selectors can't. */}}
{{- define "longshore.selector" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- end -}}

{{/* Every label of every object. */}}
{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
longshore.dev/release-queue: {{ include "longshore.queue" .root | quote }}
{{- end -}}

{{/* The whole reference of a shipped image: registry, name, and digest or tag. */}}
{{- define "longshore.image" -}}
{{- $values := .root.Values -}}
{{- $name := printf "longshore/%s" .name -}}
{{- with $values.global.imageRegistry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- with get $values.images.digests .name -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name ($values.images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The images of this repository that a queue file may name by their short names: of `.image`, the whole reference. */}}
{{- define "longshore.workerImage" -}}
{{- if has .image (list "worker-ffmpeg" "worker-script" "multi-worker") -}}
{{- include "longshore.image" (dict "root" .root "name" .image) -}}
{{- else -}}
{{- .image -}}
{{- end -}}
{{- end -}}

{{/* What keeps a pod within Pod Security "restricted". */}}
{{- define "longshore.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podUser }}
runAsGroup: {{ .Values.podUser }}
fsGroup: {{ .Values.podUser }}
# Else every file of a large volume is looked at before each pod's start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "longshore.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{/*
The volumes, without what is null: that is how a second values file takes away a hostPath of the first, as Helm merges
objects and drops nulls only of the chart's own keys. As JSON, to be read with fromJson.
*/}}
{{- define "longshore.volumes" -}}
{{- $volumes := dict -}}
{{- range $name, $volume := .Values.volumes -}}
  {{- $kept := dict -}}
  {{- range $key, $value := $volume }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $kept $key $value }}{{ end }}{{ end -}}
  {{- /* As the queue file's own default: a folder that is not there must not be made, and look like an empty source. */ -}}
  {{- with $kept.hostPath }}{{ $_ := set $kept "hostPath" (mergeOverwrite (dict "type" "Directory") .) }}{{ end -}}
  {{- $_ := set $volumes $name $kept -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end -}}

{{/* Where the manager's pod may run, and with which Secrets its images are pulled. */}}
{{- define "longshore.managerPlacement" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.manager.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.manager.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.manager.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.manager.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* media → MEDIA_PATH, as longshore.queuefile.volume_variable */}}
{{- define "longshore.volumeVariable" -}}
{{- printf "%s_PATH" (. | replace "-" "_" | upper) -}}
{{- end -}}

{{/* A value as a variable's text: lists and numbers as JSON, since a large number would come out as 1e+07. */}}
{{- define "longshore.text" -}}
{{- kindIs "string" . | ternary (toString .) (toJson .) -}}
{{- end -}}

{{/* Where the queue file lies: named by the queue, so that Helm refuses a second release with a queue of this name. */}}
{{- define "longshore.queueConfig" -}}
{{- printf "%s-longshore-queue" (include "longshore.queue" .) -}}
{{- end -}}

{{/*
The ambassador's variables, as longshore.sources.source_variables: settleSeconds of nfs is NFS_SETTLE_SECONDS, lists and
objects are JSON, what is empty is left out. A list is read from the queue file, and an ambassador of the user's own has
variables of its own. As JSON, to be read with fromJson.
*/}}
{{- define "longshore.sourceVariables" -}}
{{- $source := .Values.source -}}
{{- $variables := dict -}}
{{- range $source.volumes }}{{ $_ := set $variables (include "longshore.volumeVariable" .) (printf "/%s" .) }}{{ end -}}
{{- if and (eq $source.kind "nfs") $source.volumes }}{{ $_ := set $variables "MEDIA_PATH" (printf "/%s" (first $source.volumes)) }}{{ end -}}
{{- if eq $source.kind "list" -}}
  {{- $_ := set $variables "QUEUE_FILE" "/etc/longshore/queue.yaml" -}}
  {{- if $source.list.configMap }}{{ $_ := set $variables "LIST_FOLDER" "/etc/longshore-list" }}{{ end -}}
{{- else if eq $source.kind "custom" -}}
  {{- $_ := set $variables "LISTEN_PORT" "8080" -}}
  {{- range $key, $value := $source.custom.env }}{{ $_ := set $variables $key (include "longshore.text" $value) }}{{ end -}}
{{- else -}}
  {{- range $key, $value := get $source $source.kind | default dict -}}
    {{- $text := include "longshore.text" $value -}}
    {{- if not (has $text (list "" "[]" "{}" "null")) -}}
      {{- $_ := set $variables (printf "%s_%s" $source.kind (snakecase $key) | upper) $text -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $key, $value := .Values.ambassador.env }}{{ $_ := set $variables $key (include "longshore.text" $value) }}{{ end -}}
{{- toJson $variables -}}
{{- end -}}

{{/* Names that the status page answers to: its Service's, as pods and port forwarders call it, and the user's own. As JSON. */}}
{{- define "longshore.statusHosts" -}}
{{- $service := include "longshore.name" (dict "root" . "part" "manager") -}}
{{- $hosts := list $service -}}
{{- range list "" ".svc" ".svc.cluster.local" }}{{ $hosts = append $hosts (printf "%s.%s%s" $service $.Release.Namespace .) }}{{ end -}}
{{- concat $hosts .Values.status.hosts | toJson -}}
{{- end -}}

{{/* The queue's name as a label of every series: alerts and the dashboard find it by that. */}}
{{- define "longshore.relabelings" -}}
- {targetLabel: queue, replacement: {{ include "longshore.queue" . | quote }}}
{{- end -}}

{{/* What the ambassador's container runs: an image of its own, but for lists, which the manager's has a program for. */}}
{{- define "longshore.ambassadorImage" -}}
{{- $source := .Values.source -}}
{{- if eq $source.kind "custom" -}}
{{- $source.custom.image -}}
{{- else if eq $source.kind "list" -}}
{{- include "longshore.image" (dict "root" . "name" "manager") -}}
{{- else -}}
{{- include "longshore.image" (dict "root" . "name" (printf "ambassador-%s" $source.kind)) -}}
{{- end -}}
{{- end -}}

{{/* Where the manager asks for items: in its own pod, but for an ambassador that runs elsewhere. */}}
{{- define "longshore.sourceUrl" -}}
{{- dig "url" "" (.Values.source.custom | default dict) | default "http://127.0.0.1:8080" -}}
{{- end -}}

{{/* What this chart lays over the pod of every Job; the user's own podTemplate goes over it. */}}
{{- define "longshore.workerPodTemplate" -}}
metadata:
  labels:
    {{- include "longshore.selector" (dict "root" . "component" "worker") | nindent 4 }}
spec:
  serviceAccountName: {{ include "longshore.name" (dict "root" . "part" "worker") }}
  securityContext:
    {{- include "longshore.podSecurityContext" . | nindent 4 }}
  {{- with .Values.images.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- $names := list "worker" }}
  {{- with .Values.worker.stages }}
  {{- $names = list "multi-worker" }}
  {{- range . }}{{ $names = append $names .name }}{{ end }}
  initContainers:
    {{- range initial $names }}
    {{- include "longshore.workerContainer" (dict "root" $ "name" .) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    {{- include "longshore.workerContainer" (dict "root" $ "name" (last $names)) | nindent 4 }}
{{- end -}}

{{- define "longshore.workerContainer" -}}
- name: {{ .name }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  securityContext:
    {{- include "longshore.containerSecurityContext" .root | nindent 4 }}
{{- end -}}

{{/* The queue file that the manager gets: the queue's part of the values, and nothing else. */}}
{{- define "longshore.queueFile" -}}
{{- $worker := deepCopy .Values.worker -}}
{{- with include "longshore.workerImage" (dict "root" . "image" $worker.image) }}{{ $_ := set $worker "image" . }}{{ end -}}
{{- if $worker.stages -}}
  {{- range $worker.stages -}}
    {{- $_ := set . "image" (include "longshore.workerImage" (dict "root" $ "image" (.image | default ""))) -}}
  {{- end -}}
  {{- $adapter := $worker.adapterImage | default "multi-worker" -}}
  {{- $_ := set $worker "adapterImage" (include "longshore.workerImage" (dict "root" . "image" $adapter)) -}}
{{- end -}}
{{- $_ := set $worker "podTemplate" (include "longshore.mergedPodTemplate" . | fromJson) -}}
{{- $source := dict -}}
{{- range $key, $value := .Values.source }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $source $key $value }}{{ end }}{{ end -}}
{{- toYaml (dict
  "queue" (mergeOverwrite (deepCopy .Values.queue) (dict "name" (include "longshore.queue" .)))
  "volumes" (include "longshore.volumes" . | fromJson)
  "source" $source
  "worker" $worker
  "scaling" .Values.scaling
  "breaker" .Values.breaker
  "retry" .Values.retry
  "keep" .Values.keep
) -}}
{{- end -}}

{{/* The chart's pod template under the user's: objects by key, containers by name. As JSON. */}}
{{- define "longshore.mergedPodTemplate" -}}
{{- $base := include "longshore.workerPodTemplate" . | fromYaml -}}
{{- $over := deepCopy .Values.worker.podTemplate -}}
{{- $merged := mergeOverwrite (deepCopy $base) $over -}}
{{- range $group := list "initContainers" "containers" -}}
  {{- $named := dict -}}
  {{- $order := list -}}
  {{- range concat (get $base.spec $group | default list) (dig "spec" $group list $over) -}}
    {{- if not (hasKey $named .name) }}{{ $order = append $order .name }}{{ end -}}
    {{- $_ := set $named .name (mergeOverwrite (get $named .name | default dict) (deepCopy .)) -}}
  {{- end -}}
  {{- $all := list -}}
  {{- range $order }}{{ $all = append $all (get $named .) }}{{ end -}}
  {{- if $all }}{{ $_ := set $merged.spec $group $all }}{{ end -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{/* What each kind of source must have, told with its fix. */}}
{{- define "longshore.checkSource" -}}
{{- $source := .Values.source -}}
{{- $needs := dict
  "s3" (list "bucket")
  "redis" (list "url" (ternary "pattern" "key" (eq (dig "kind" "hash" ($source.redis | default dict)) "keys")))
  "kafka" (list "bootstrapServers" "topics" "group")
-}}
{{- range get $needs $source.kind | default list -}}
  {{- if not (get (get $source $source.kind | default dict) .) -}}
    {{- fail (printf "source.kind is %q but source.%s.%s is empty: set source.%s.%s" $source.kind $source.kind . $source.kind .) -}}
  {{- end -}}
{{- end -}}
{{- if eq $source.kind "list" -}}
  {{- $list := $source.list | default dict -}}
  {{- if not (or $list.items $list.file) -}}
    {{- fail "source.kind is \"list\" but source.list is empty: set source.list.items, or source.list.file" -}}
  {{- end -}}
  {{- if and $list.file (not $list.configMap) (not (regexMatch "^(/|[$])" $list.file)) -}}
    {{- fail (printf "source.list.file is %q: on a cluster set source.list.configMap to the ConfigMap that has it as a key, or begin it with the folder of a volume, ${MEDIA_PATH}/%s" $list.file $list.file) -}}
  {{- end -}}
{{- end -}}
{{- if eq $source.kind "custom" -}}
  {{- $custom := $source.custom | default dict -}}
  {{- if not (or $custom.url $custom.image $custom.command) -}}
    {{- fail "source.kind is \"custom\" but source.custom is empty: set source.custom.url to where your ambassador answers, or source.custom.image" -}}
  {{- end -}}
  {{- if and $custom.command (not $custom.image) -}}
    {{- fail "source.custom.image is empty: on a cluster source.custom.command needs an image to run in" -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* What a chain must have. */}}
{{- define "longshore.checkStages" -}}
{{- $volumes := keys .Values.volumes -}}
{{- $names := list -}}
{{- range $index, $stage := .Values.worker.stages -}}
  {{- if has $stage.name $names -}}
    {{- fail (printf "worker.stages[%d].name: there is a stage %q before it already" $index $stage.name) -}}
  {{- end -}}
  {{- $names = append $names $stage.name -}}
  {{- if not $stage.image -}}
    {{- fail (printf "worker.stages[%d].image is empty: on a cluster every stage needs an image to run in" $index) -}}
  {{- end -}}
  {{- range $stage.volumes -}}
    {{- if not (has . $volumes) -}}
      {{- fail (printf "worker.stages[%d].volumes: there is no volume %q: there are %s" $index . (join ", " (sortAlpha $volumes) | default "none")) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $key := list "image" "command" "args" "env" "script" "existingSecret" "volumes" "resources" -}}
  {{- if get $.Values.worker $key -}}
    {{- fail (printf "worker.%s can't be set beside worker.stages: each stage has its own" $key) -}}
  {{- end -}}
{{- end -}}
{{- if has "work" $volumes -}}
  {{- fail "volumes.work: ${work} is the folder that stages share: call this volume otherwise" -}}
{{- end -}}
{{- end -}}

{{/* What no schema can say: a mistake in how values fit together, told with its fix. */}}
{{- define "longshore.check" -}}
{{- $volumes := keys .Values.volumes -}}
{{- if and (eq .Values.source.kind "nfs") (not .Values.source.volumes) -}}
  {{- fail "source.kind is \"nfs\" but source.volumes is empty: name the volume that holds the items" -}}
{{- end -}}
{{- include "longshore.checkSource" . -}}
{{- range $part := list "source" "worker" -}}
  {{- range (get $.Values $part).volumes -}}
    {{- if not (has . $volumes) -}}
      {{- fail (printf "%s.volumes: there is no volume %q: there are %s" $part . (join ", " (sortAlpha $volumes) | default "none")) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $name, $volume := include "longshore.volumes" . | fromJson -}}
  {{- if ne (len (without (keys $volume) "readOnly")) 1 -}}
    {{- fail (printf "volumes.%s: give exactly one of hostPath, nfs and persistentVolumeClaim" $name) -}}
  {{- end -}}
  {{- with $volume.hostPath }}{{ if not (hasPrefix "/" .path) -}}
    {{- fail (printf "volumes.%s.hostPath.path is %q: on a cluster it must be absolute, a folder of every node; or null, with another kind beside it in a second values file" $name .path) -}}
  {{- end }}{{ end -}}
{{- end -}}
{{- if .Values.worker.stages -}}
  {{- include "longshore.checkStages" . -}}
{{- else if not (or .Values.worker.image .Values.worker.command) -}}
  {{- fail "worker.image is empty: set it to a shipped image (worker-ffmpeg) or any other" -}}
{{- else if not .Values.worker.image -}}
  {{- fail "worker.image is empty: on a cluster worker.command needs an image to run in" -}}
{{- end -}}
{{- $queue := include "longshore.queue" . -}}
{{- if not (regexMatch "^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$" $queue) -}}
  {{- fail (printf "the queue would be called %q after its release: set queue.name, of at most 53 of a-z, 0-9 and -" $queue) -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
  {{- fail "podMonitor.enabled and serviceMonitor.enabled would have the manager scraped twice, and everything counted twice: leave one of them" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled)) -}}
  {{- fail "prometheusRule.enabled is of no use alone, as its rules find the queue by a label that a monitor gives: set podMonitor.enabled or serviceMonitor.enabled" -}}
{{- end -}}
{{- if gt (int .Values.scaling.min) (int .Values.scaling.max) -}}
  {{- fail (printf "scaling.min is %v, more than scaling.max, %v" .Values.scaling.min .Values.scaling.max) -}}
{{- end -}}
{{- end -}}

{{/* Whether workers see a Docker socket of their node, by a volume or by podTemplate; empty: they don't. */}}
{{- define "longshore.hasDockerSocket" -}}
{{- if regexMatch "\"path\":\"[^\"]*docker[^\"]*\\.sock\"" (toJson (list .Values.volumes .Values.worker.podTemplate)) -}}
true
{{- end -}}
{{- end -}}
