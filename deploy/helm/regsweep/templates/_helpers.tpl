{{/* What this chart makes is called after its release. */}}
{{- define "regsweep.fullname" -}}
{{- if contains "regsweep" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-regsweep" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The names that the registry's chart gives: its claim and its Service are called so, its ConfigMap and its Secret with
     an ending. */}}
{{- define "regsweep.registry" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $release := required "regsweep.registryRelease is needed: the release of the registry's chart (helm list)" .Values.regsweep.registryRelease -}}
{{- $name := default "docker-registry" .Values.nameOverride -}}
{{- ternary $release (printf "%s-%s" $release $name) (contains $name $release) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "regsweep.namespace" -}}
{{- default .Release.Namespace .Values.namespace -}}
{{- end -}}

{{- define "regsweep.selector" -}}
app.kubernetes.io/name: regsweep
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "regsweep.labels" -}}
{{ include "regsweep.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "regsweep.serviceAccount" -}}
{{- $account := .Values.regsweep.serviceAccount -}}
{{- default (ternary (include "regsweep.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{- define "regsweep.port" -}}
{{- regexFind "[0-9]+$" .Values.regsweep.flags.listen -}}
{{- end -}}

{{/* What would lose data or could not work is refused before anything is made. */}}
{{- define "regsweep.check" -}}
{{- if and .Values.garbageCollect.enabled (not .Values.regsweep.flags.reportOrphans) (not .Values.regsweep.flags.dryRun) -}}
{{- fail "garbageCollect.enabled: the registry's own collector must not run beside regsweep; set it to false, upgrade the registry's release with it, and then install this" -}}
{{- end -}}
{{- if eq .Values.storage "swift" -}}
{{- fail "storage: swift is not read by regsweep; filesystem, s3, gcs and azure are" -}}
{{- end -}}
{{- if and (eq .Values.storage "filesystem") (not .Values.persistence.enabled) -}}
{{- fail "persistence.enabled: without it the registry keeps its images in a directory of its pod, which no other pod can reach" -}}
{{- end -}}
{{- if and (eq .Values.regsweep.mode "serve") (not .Values.regsweep.token.existingSecret) -}}
{{- fail (printf "regsweep.token.existingSecret is needed with mode serve: kubectl -n %s create secret generic regsweep --from-literal=token=\"$(openssl rand -hex 32)\"" (include "regsweep.namespace" .)) -}}
{{- end -}}
{{- end -}}

{{/* The flags of this mode, as JSON. */}}
{{- define "regsweep.given" -}}
{{- $flags := deepCopy .Values.regsweep.flags -}}
{{- $serve := eq .Values.regsweep.mode "serve" -}}
{{- if not (or $flags.store $flags.registryConfig) -}}
{{- $_ := set $flags "registryConfig" (printf "%s/config.yml" .Values.configPath) -}}
{{- end -}}
{{- $named := list -}}
{{- range .Values.regsweep.extraEnvVars -}}
{{- $named = append $named .name -}}
{{- end -}}
{{- if not (or $flags.registryUrl (has "REGSWEEP_REGISTRY_URL" $named)) -}}
{{- $_ := set $flags "registryUrl" (list (printf "%s://%s:%v" (ternary "https" "http" (not (empty .Values.tlsSecretName))) (include "regsweep.registry" .) .Values.service.port)) -}}
{{- end -}}
{{- if .Values.regsweep.policy -}}
{{- $_ := set $flags "policy" "/etc/regsweep/policy.yaml" -}}
{{- end -}}
{{- if not $serve -}}
{{- $flags = omit $flags "every" "schedule" "jitter" "window" "listen" "tokenFile" "tlsCert" "tlsKey" "tlsClientCa" "ignoreAddress" "ignoreUser" "ignoreUserAgent" "webhook" "webhookTokenFile" -}}
{{- else -}}
{{- $flags = omit $flags "offline" "assumeRestarted" "plan" "reportOrphans" "dryRun" "all" "html" -}}
{{- $_ := set $flags "tokenFile" (default "/run/secrets/regsweep/token" $flags.tokenFile) -}}
{{- if .Values.regsweep.webhookToken.existingSecret -}}
{{- $_ := set $flags "webhookTokenFile" (default "/run/secrets/webhook/token" $flags.webhookTokenFile) -}}
{{- end -}}
{{- end -}}
{{- $flags | toJson -}}
{{- end -}}

{{/* Flags as the program reads them from its environment. */}}
{{- define "regsweep.flags" -}}
{{- range $name, $value := include "regsweep.given" . | fromJson }}
{{- if and $value (not (kindIs "slice" $value)) }}
- name: REGSWEEP_{{ $name | snakecase | upper }}
  value: {{ ternary (printf "%v" (int $value)) (toString $value) (kindIs "float64" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Flags that are given once for each value: not every one of them can be told from its environment. */}}
{{- define "regsweep.arguments" -}}
{{- range $name, $value := include "regsweep.given" . | fromJson }}
{{- if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%s" (kebabcase $name) . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One variable from a secret: name, secret, key. */}}
{{- define "regsweep.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{/* What overwrites the registry's configuration, as the registry's own containers have it. */}}
{{- define "regsweep.registryEnvironment" -}}
{{- $secret := printf "%s-secret" (include "regsweep.registry" .) -}}
{{- if eq .Values.storage "filesystem" }}
- name: REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY
  value: /var/lib/registry
{{- else if eq .Values.storage "azure" }}
{{- range $name, $key := dict "ACCOUNTNAME" "azureAccountName" "ACCOUNTKEY" "azureAccountKey" "CONTAINER" "azureContainer" }}
{{ include "regsweep.secretVariable" (list (printf "REGISTRY_STORAGE_AZURE_%s" $name) $secret $key) }}
{{- end }}
{{- else if eq .Values.storage "s3" }}
{{- $keys := .Values.secrets.s3 | default dict }}
{{- if or $keys.secretRef (and $keys.accessKey $keys.secretKey) }}
{{ include "regsweep.secretVariable" (list "REGISTRY_STORAGE_S3_ACCESSKEY" (default $secret $keys.secretRef) "s3AccessKey") }}
{{ include "regsweep.secretVariable" (list "REGISTRY_STORAGE_S3_SECRETKEY" (default $secret $keys.secretRef) "s3SecretKey") }}
{{- end }}
{{- $bucket := required "s3.bucket is needed with storage s3" .Values.s3.bucket }}
{{- range $name := list "bucket" "region" "regionEndpoint" "rootdirectory" "encrypt" "secure" "forcepathstyle" "skipverify" }}
{{- with index $.Values.s3 $name }}
- name: REGISTRY_STORAGE_S3_{{ upper $name }}
  value: {{ quote . }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.persistence.deleteEnabled }}
- name: REGISTRY_STORAGE_DELETE_ENABLED
  value: "true"
{{- end }}
{{- if (.Values.proxy).enabled }}
- name: REGISTRY_PROXY_REMOTEURL
  value: {{ .Values.proxy.remoteurl | quote }}
{{- end }}
{{- with .Values.extraEnvVars }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The pod of both modes, from its labels on. `component` is "run" or "serve". */}}
{{- define "regsweep.pod" -}}
{{- $component := .component -}}
{{- $values := .root.Values -}}
{{- $own := .root.Values.regsweep -}}
{{- with .root -}}
metadata:
  labels:
    {{- include "regsweep.selector" . | nindent 4 }}
    {{- with merge (dict) $own.podLabels ($values.garbageCollect.podLabels | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/policy: {{ $own.policy | toJson | sha256sum }}
    {{- with merge (dict) $own.podAnnotations ($values.garbageCollect.podAnnotations | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "regsweep.serviceAccount" . }}
  automountServiceAccountToken: false
  # Services set variables that begin as the registry's configuration does.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
  {{- if eq $component "run" }}
  restartPolicy: Never
  {{- end }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $values.securityContext.enabled }}
  securityContext: {{- omit $values.securityContext "enabled" | toYaml | nindent 4 }}
  {{- end }}
  containers:
    - name: regsweep
      image: "{{ $own.image.repository }}:{{ default .Chart.AppVersion $own.image.tag }}"
      imagePullPolicy: {{ $own.image.pullPolicy }}
      args:
        - {{ $component }}
        {{- include "regsweep.arguments" . | trim | nindent 8 }}
      env:
        {{- include "regsweep.flags" . | trim | nindent 8 }}
        {{- with include "regsweep.registryEnvironment" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $own.extraEnvVars }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if eq $component "serve" }}
      ports:
        - name: http
          containerPort: {{ include "regsweep.port" . }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
          scheme: {{ ternary "HTTPS" "HTTP" (not (empty $own.flags.tlsCert)) }}
        periodSeconds: 30
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
          scheme: {{ ternary "HTTPS" "HTTP" (not (empty $own.flags.tlsCert)) }}
      {{- end }}
      {{- with default $values.garbageCollect.resources $own.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $values.containerSecurityContext.enabled }}
      securityContext: {{- omit $values.containerSecurityContext "enabled" | toYaml | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: {{ $values.configPath }}
          readOnly: true
        - name: cache
          mountPath: /var/cache
        {{- if eq $values.storage "filesystem" }}
        - name: data
          mountPath: /var/lib/registry
        {{- end }}
        {{- if $own.policy }}
        - name: policy
          mountPath: /etc/regsweep
          readOnly: true
        {{- end }}
        {{- if eq $component "serve" }}
        - name: token
          mountPath: /run/secrets/regsweep
          readOnly: true
        {{- if $own.webhookToken.existingSecret }}
        - name: webhook-token
          mountPath: /run/secrets/webhook
          readOnly: true
        {{- end }}
        {{- end }}
        {{- with concat ($values.extraVolumeMounts | default list) $own.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $values.affinity }}
  affinity: {{- toYaml $values.affinity | nindent 4 }}
  {{- else if and $own.colocate (eq $values.storage "filesystem") (eq $values.persistence.accessMode "ReadWriteOnce") }}
  affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              app: {{ default "docker-registry" $values.nameOverride }}
              release: {{ $own.registryRelease }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "regsweep.registry" . }}-config
    - name: cache
      emptyDir:
        sizeLimit: {{ $own.cache.sizeLimit }}
    {{- if eq $values.storage "filesystem" }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ default (include "regsweep.registry" .) $values.persistence.existingClaim }}
    {{- end }}
    {{- if $own.policy }}
    - name: policy
      configMap:
        name: {{ include "regsweep.fullname" . }}
    {{- end }}
    {{- if eq $component "serve" }}
    - name: token
      secret:
        secretName: {{ $own.token.existingSecret }}
        defaultMode: 0440
        items:
          - key: {{ $own.token.key }}
            path: token
    {{- if $own.webhookToken.existingSecret }}
    - name: webhook-token
      secret:
        secretName: {{ $own.webhookToken.existingSecret }}
        defaultMode: 0440
        items:
          - key: {{ $own.webhookToken.key }}
            path: token
    {{- end }}
    {{- end }}
    {{- with concat ($values.extraVolumes | default list) $own.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}
