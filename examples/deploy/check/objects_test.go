// Package check holds the manifests and the chart to Kubernetes' own types. It is a module of its own, since nobody who
// builds consentd is to fetch those.
package check

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// serviceMonitor is what we use of the Prometheus operator's type.
type serviceMonitor struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port          string `json:"port"`
			Path          string `json:"path"`
			Authorization struct {
				Credentials corev1.SecretKeySelector `json:"credentials"`
			} `json:"authorization"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// objects are what is given to Kubernetes together.
type objects struct {
	config   corev1.ConfigMap
	secret   *corev1.Secret // nil where it has to be there already
	service  corev1.Service
	set      appsv1.StatefulSet
	budget   *policyv1.PodDisruptionBudget
	network  *networkingv1.NetworkPolicy
	monitors []serviceMonitor
}

// decode refuses fields that Kubernetes does not have, and kinds of an API version that is not its own.
func decode(texts ...string) (*objects, error) {
	o := &objects{}
	for _, doc := range regexp.MustCompile(`(?m)^---\s*$`).Split(strings.Join(texts, "\n---\n"), -1) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return nil, err
		}
		var into any
		switch kind.APIVersion + " " + kind.Kind {
		case " ": // a comment
			continue
		case "v1 ConfigMap":
			into = &o.config
		case "v1 Secret":
			o.secret = &corev1.Secret{}
			into = o.secret
		case "v1 Service":
			into = &o.service
		case "apps/v1 StatefulSet":
			into = &o.set
		case "policy/v1 PodDisruptionBudget":
			o.budget = &policyv1.PodDisruptionBudget{}
			into = o.budget
		case "networking.k8s.io/v1 NetworkPolicy":
			o.network = &networkingv1.NetworkPolicy{}
			into = o.network
		case "monitoring.coreos.com/v1 ServiceMonitor":
			o.monitors = append(o.monitors, serviceMonitor{})
			into = &o.monitors[len(o.monitors)-1]
		default:
			return nil, fmt.Errorf("nobody knows %s %s", kind.APIVersion, kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			return nil, fmt.Errorf("decode %s: %w", kind.Kind, err)
		}
	}
	return o, nil
}

// meets checks what no type says: that each name is one of something that is there.
func (o *objects) meets(t *testing.T, sidecar bool) {
	t.Helper()
	pod := o.set.Spec.Template
	selects := func(what string, selector, labels map[string]string) {
		t.Helper()
		if len(selector) == 0 {
			t.Errorf("the %s selects everything", what)
		}
		for name, value := range selector {
			if labels[name] != value {
				t.Errorf("the %s wants %s=%s and there is %q", what, name, value, labels)
			}
		}
	}
	selects("set", o.set.Spec.Selector.MatchLabels, pod.Labels)
	selects("service", o.service.Spec.Selector, pod.Labels)
	if o.budget != nil {
		selects("budget", o.budget.Spec.Selector.MatchLabels, pod.Labels)
	}
	if o.network != nil {
		selects("network policy", o.network.Spec.PodSelector.MatchLabels, pod.Labels)
	}
	if o.set.Spec.ServiceName != o.service.Name || *o.set.Spec.Replicas != 1 {
		t.Errorf("%d of service %q", *o.set.Spec.Replicas, o.set.Spec.ServiceName)
	}

	// A sidecar is an init container that goes on.
	among := pod.Spec.Containers
	if sidecar {
		among = pod.Spec.InitContainers
	}
	if len(among) != 1 || among[0].Name != "consentd" || len(pod.Spec.Containers) != 1 {
		t.Fatalf("init containers %d, containers %d", len(pod.Spec.InitContainers), len(pod.Spec.Containers))
	}
	c := among[0]
	if sidecar && (c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways) {
		t.Error("the application waits for consentd to end")
	}

	ports := map[string]int32{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	listens := func(what, port string) {
		t.Helper()
		if ports[port] == 0 {
			t.Errorf("%s goes to the port %q, there are %v", what, port, ports)
		}
	}
	served := map[string]bool{}
	for _, p := range o.service.Spec.Ports {
		listens("the service", p.TargetPort.StrVal)
		served[p.Name] = true
	}
	for what, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		path := map[string]string{"startup": "/readyz", "liveness": "/healthz", "readiness": "/readyz"}[what]
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path {
			t.Fatalf("the %s probe is %v", what, probe)
		}
		listens(what, probe.HTTPGet.Port.StrVal)
	}
	if o.network != nil {
		for _, rule := range o.network.Spec.Ingress {
			for _, p := range rule.Ports {
				listens("the network policy", p.Port.StrVal)
			}
		}
	}
	for _, m := range o.monitors {
		selects("monitor", m.Spec.Selector.MatchLabels, o.service.Labels)
		for _, e := range m.Spec.Endpoints {
			if !served[e.Port] || e.Path != "/metrics" {
				t.Errorf("the monitor reads %s of port %q", e.Path, e.Port)
			}
			o.hasSecret(t, e.Authorization.Credentials.Name, e.Authorization.Credentials.Key)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			o.hasSecret(t, e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
		}
	}
	o.mounts(t, c)
	o.hardened(t, c)
}

func (o *objects) hasSecret(t *testing.T, name, key string) {
	t.Helper()
	switch {
	case o.secret == nil && name != "" && key != "":
	case o.secret == nil, o.secret.Name != name, o.secret.StringData[key] == "":
		t.Errorf("no key %q of a secret %q", key, name)
	}
}

// mounts checks that what the configuration and the image need is mounted, of volumes that there are.
func (o *objects) mounts(t *testing.T, c corev1.Container) {
	t.Helper()
	volumes := map[string]corev1.VolumeSource{}
	for _, v := range o.set.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v.VolumeSource
	}
	for _, claim := range o.set.Spec.VolumeClaimTemplates {
		volumes[claim.Name] = corev1.VolumeSource{}
		if len(claim.Spec.AccessModes) != 1 || claim.Spec.Resources.Requests.Storage().IsZero() {
			t.Errorf("the claim %s is %+v", claim.Name, claim.Spec)
		}
	}
	paths := map[string]corev1.VolumeSource{}
	for _, m := range c.VolumeMounts {
		v, there := volumes[m.Name]
		if !there {
			t.Errorf("no volume %q", m.Name)
		}
		paths[m.MountPath] = v
	}
	if v := paths["/etc/consentd"].ConfigMap; v == nil || v.Name != o.config.Name || len(o.config.Data) == 0 {
		t.Errorf("the configuration is %+v", v)
	}
	if v := paths["/run/secrets/consentd"].Secret; v == nil || v.DefaultMode == nil || *v.DefaultMode != 0o440 {
		t.Errorf("the secrets are %+v", v)
	} else {
		for _, item := range v.Items {
			o.hasSecret(t, v.SecretName, item.Key)
		}
	}
	for _, path := range []string{"/var/lib/consentd", "/run/consentd"} {
		if _, there := paths[path]; !there {
			t.Errorf("nothing is mounted at %s", path)
		}
	}
}

// hardened checks what the "restricted" profile of Kubernetes' pod security standards asks for.
func (o *objects) hardened(t *testing.T, c corev1.Container) {
	t.Helper()
	pod, own := o.set.Spec.Template.Spec.SecurityContext, c.SecurityContext
	switch {
	case pod == nil || own == nil || own.Capabilities == nil || pod.SeccompProfile == nil:
		t.Fatal("no security context")
	case !*pod.RunAsNonRoot, *pod.RunAsUser != 65532, pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
		*own.AllowPrivilegeEscalation, !*own.ReadOnlyRootFilesystem, len(own.Capabilities.Drop) != 1, own.Capabilities.Drop[0] != "ALL":
		t.Errorf("security contexts %+v %+v", pod, own)
	}
}
