{{- define "consentd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "consentd.labels" -}}
{{ include "consentd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "consentd.container" -}}
name: consentd
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - { name: webhooks, containerPort: 8484 }
  - { name: admin, containerPort: 8485 }
env:
  - name: CONSENTD_ADMIN_TOKEN
    valueFrom: { secretKeyRef: { name: {{ .Values.existingSecret }}, key: admin_token } }
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
startupProbe:
  httpGet: { path: /readyz, port: admin }
  timeoutSeconds: 3
  periodSeconds: 2
  failureThreshold: {{ div .Values.startupSeconds 2 }}
livenessProbe:
  httpGet: { path: /healthz, port: admin }
  timeoutSeconds: 10
  periodSeconds: 20
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  timeoutSeconds: 3
  periodSeconds: 5
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - { name: config, mountPath: /etc/consentd, readOnly: true }
  - { name: secrets, mountPath: /run/secrets/consentd, readOnly: true }
  - { name: store, mountPath: /var/lib/consentd }
  - { name: runtime, mountPath: /run/consentd }
{{- end }}
