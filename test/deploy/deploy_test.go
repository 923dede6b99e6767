// Package deploy_test checks what deploy/ ships against the programs that will read it: Kubernetes' own types, the
// compose specification, the Dockerfile parser of BuildKit, nfpm, and Outrider itself.
package deploy_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const root = "../.."

// objects builds a kustomization and decodes all of it strictly: an unknown field is an error.
func objects(t *testing.T, dir string) []k8sruntime.Object {
	t.Helper()
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decode := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []k8sruntime.Object
	for _, r := range m.Resources() {
		y, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := decode.Decode(y, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", r.CurId(), err)
			continue
		}
		out = append(out, o)
	}
	return out
}

func TestKubernetes(t *testing.T) {
	for _, dir := range []string{"deploy/kubernetes/base", "deploy/kubernetes/overlays/gpu"} {
		pods := map[string]*corev1.PodTemplateSpec{}
		kinds := map[string]int{}
		var services []*corev1.Service
		for _, o := range objects(t, dir) {
			kinds[o.GetObjectKind().GroupVersionKind().Kind]++
			switch o := o.(type) {
			case *appsv1.Deployment:
				pods[o.Name] = &o.Spec.Template
			case *appsv1.StatefulSet:
				pods[o.Name] = &o.Spec.Template
			case *corev1.Service:
				services = append(services, o)
			case *corev1.ConfigMap:
				for _, text := range o.Data {
					if !strings.Contains(text, "/models/model.gguf") { // a model that the operator brings
						checkConfig(t, dir+" "+o.Name, text)
					}
				}
			}
		}
		for _, k := range []string{"PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler", "Namespace"} {
			if kinds[k] == 0 {
				t.Errorf("%s has no %s", dir, k)
			}
		}
		for name, p := range pods {
			c := p.Spec.Containers[0]
			if c.ReadinessProbe == nil || c.LivenessProbe == nil || *p.Spec.SecurityContext.RunAsNonRoot != true || *c.SecurityContext.ReadOnlyRootFilesystem != true {
				t.Errorf("%s %s: probes and an unprivileged user are wanted", dir, name)
			}
			gpu := c.Resources.Limits["nvidia.com/gpu"]
			if want := name == "cloud" && strings.HasSuffix(dir, "gpu"); (gpu.Value() == 1) != want {
				t.Errorf("%s %s: %s GPUs", dir, name, gpu.String())
			}
		}
		for _, s := range services { // a service reaches a port that its pods have
			p := pods[s.Name]
			if p == nil || p.Labels["app.kubernetes.io/name"] != s.Spec.Selector["app.kubernetes.io/name"] {
				t.Errorf("%s: service %s selects nothing", dir, s.Name)
				continue
			}
			for _, port := range s.Spec.Ports {
				if !slices.ContainsFunc(p.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == port.TargetPort.String() }) {
					t.Errorf("%s: service %s names port %s, which no container has", dir, s.Name, port.TargetPort.String())
				}
			}
		}
	}
}

// program builds outrider once.
var built string

func program(t *testing.T) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "outrider-deploy")
		if err != nil {
			t.Fatal(err)
		}
		built = filepath.Join(dir, "outrider")
		build(t, root, built)
	}
	return built
}

func build(t *testing.T, dir, out string) {
	t.Helper()
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./cmd/outrider")
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOWORK=off")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
}

// checkConfig lets Outrider read a configuration.
func checkConfig(t *testing.T, what, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(program(t), "config", "--check", path).CombinedOutput(); err != nil {
		t.Errorf("%s: %s", what, b)
	}
}

func TestConfigs(t *testing.T) {
	for _, pattern := range []string{"deploy/config/*.yaml", "deploy/packages/edge.yaml", "deploy/packages/cloud.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			checkConfig(t, f, string(b))
		}
	}
}

func TestCompose(t *testing.T) {
	o, err := cli.NewProjectOptions([]string{filepath.Join(root, "deploy/compose.yaml")}, cli.WithoutEnvironmentResolution)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cloud", "edge", "prometheus", "grafana"} {
		s, err := p.GetService(name)
		if err != nil {
			t.Error(err)
		}
		for _, v := range s.Volumes { // what is mounted exists
			if v.Type == "bind" && filepath.Base(v.Source) != "keys" {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestDockerfiles(t *testing.T) {
	for _, name := range []string{"Dockerfile", "Dockerfile.llamacpp"} {
		b, err := os.ReadFile(filepath.Join(root, "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		ast, err := parser.Parse(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stages, _, err := instructions.Parse(ast.AST, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := stages[len(stages)-1]
		if !slices.ContainsFunc(last.Commands, func(c instructions.Command) bool {
			u, ok := c.(*instructions.UserCommand)
			return ok && u.User == "65532:65532"
		}) {
			t.Errorf("%s runs as root", name)
		}
	}
}

// The binary that goes into images and packages is static, and the same wherever it is built.
func TestReproducible(t *testing.T) {
	first := program(t)
	f, err := elf.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("not static: %v %v", libs, err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere", "deeper")
	if b, err := exec.Command("git", "clone", "-q", "--no-hardlinks", root, elsewhere).CombinedOutput(); err != nil {
		t.Skipf("no clone: %v %s", err, b)
	}
	if b, _ := exec.Command("git", "-C", root, "status", "--porcelain", "--untracked-files=no").Output(); len(b) > 0 {
		t.Skip("the working tree differs from its last commit")
	}
	second := filepath.Join(t.TempDir(), "outrider")
	build(t, elsewhere, second)
	a, _ := os.ReadFile(first)
	b, _ := os.ReadFile(second)
	if !bytes.Equal(a, b) {
		t.Error("two builds of one commit differ")
	}
}

// A Debian package is built, taken apart, and its program run.
func TestDebianPackage(t *testing.T) {
	deb := filepath.Join(t.TempDir(), "outrider.deb")
	whole, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("go", "run", "./pack", "-root", whole, "-binary", program(t), "-arch", runtime.GOARCH, "-version", "0.0.1", "-out", deb).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb: the package was built and not opened")
	}
	into := t.TempDir()
	if b, err := exec.Command("dpkg-deb", "-x", deb, into).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	for _, unit := range []string{"outrider-edge.service", "outrider-cloud.service"} {
		if _, err := os.Stat(filepath.Join(into, "usr/lib/systemd/system", unit)); err != nil {
			t.Error(err)
		}
	}
	if b, err := exec.Command(filepath.Join(into, "usr/bin/outrider"), "config", "--check", filepath.Join(into, "etc/outrider/edge.yaml")).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, b)
	}
}

// The bill of materials comes from what is compiled into the program.
func TestSBOM(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sbom.json")
	if b, err := exec.Command("go", "tool", "cyclonedx-gomod", "bin", "-json", "-output", out, program(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil || !json.Valid(b) || !bytes.Contains(b, []byte("pkg:golang/google.golang.org/grpc@")) {
		t.Errorf("%v: no SBOM that names gRPC: %.200s", err, b)
	}
}

// systemd reads the units, where it is installed.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze: the units were not verified")
	}
	dir := t.TempDir()
	for _, name := range []string{"outrider-edge.service", "outrider-cloud.service"} {
		b, err := os.ReadFile(filepath.Join(root, "deploy/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "/usr/bin/outrider", program(t)) // it wants the program to be there
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--json=short", "--threshold=40", path).CombinedOutput()
		if err != nil {
			t.Errorf("%s is more exposed than 4.0: %v\n%.600s", name, err, out)
		}
	}
}

// Prometheus' and Grafana's files of the compose stack name what there is.
func TestProvisioning(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "deploy/grafana/outrider.json"))
	if err != nil || !json.Valid(b) {
		t.Fatal("the dashboard is no JSON", err)
	}
	for _, f := range []string{"deploy/prometheus/compose.yml", "deploy/grafana/provisioning/datasources/prometheus.yaml", "deploy/grafana/provisioning/dashboards/outrider.yaml"} {
		if _, err := os.Stat(filepath.Join(root, f)); err != nil {
			t.Error(err)
		}
	}
}
