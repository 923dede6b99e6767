package cloud

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/telemetry"
)

// serving is a cloud served by Serve on loopback.
type serving struct {
	*rig
	admin  string
	health healthv1.HealthClient
	stop   context.CancelFunc
	result chan error
}

func serve(t *testing.T, drain time.Duration, credit int) *serving {
	t.Helper()
	m := newToy()
	reg := telemetry.NewRegistry()
	s, err := NewServer(Config{Targets: []Target{{Name: "toy", Model: m}}, Credit: credit, Metrics: NewMetrics(reg)})
	if err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	lis, admin := listen(), listen()
	ctx, stop := context.WithCancel(t.Context())
	v := &serving{rig: &rig{Server: s, t: t, toy: m}, admin: "http://" + admin.Addr().String(), stop: stop, result: make(chan error, 1)}
	go func() {
		v.result <- Serve(ctx, s, ServeConfig{Listener: lis, Admin: admin, Gatherer: reg, DrainTimeout: drain})
	}()
	if v.conn, err = grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	v.c, v.health = outriderv1.NewDecodeServiceClient(v.conn), healthv1.NewHealthClient(v.conn)
	t.Cleanup(func() {
		stop()
		_ = v.conn.Close()
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return v
}

func (v *serving) get(path string) (int, string) {
	r, err := http.Get(v.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b)
}

func (v *serving) wantHealth(want healthv1.HealthCheckResponse_ServingStatus) {
	v.t.Helper()
	eventually(v.t, "health "+want.String(), func() bool {
		r, err := v.health.Check(v.t.Context(), &healthv1.HealthCheckRequest{Service: "outrider.v1.DecodeService"})
		return err == nil && r.GetStatus() == want
	})
}

func TestAdminAndHealth(t *testing.T) {
	v := serve(t, 0, 0)
	v.wantHealth(healthv1.HealthCheckResponse_SERVING)
	n := newNaive(t, open(1, promptOf(1, 8), 40))
	if err := n.run(t.Context(), v.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok"} {
		if code, body := v.get(path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	_, metrics := v.get("/metrics")
	for _, want := range []string{"go_goroutines ", "process_cpu_seconds_total ", "process_resident_memory_bytes ",
		`outrider_cloud_tokens_total{fate="run-ahead",target="toy"}`, `outrider_cloud_sessions{state="connected",target="toy"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	v.toy.kill()
	v.wantHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	if code, body := v.get("/readyz"); code != 503 || !strings.Contains(body, "restarting") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	v.toy.revive()
	v.wantHealth(healthv1.HealthCheckResponse_SERVING)
	models, err := v.c.ListModels(t.Context(), &outriderv1.ListModelsRequest{})
	if err != nil || len(models.GetModels()) != 1 || models.GetModels()[0].GetNumerics() != "toy/1" {
		t.Errorf("models %v, %v", models, err)
	}
	v.stop()
	if err := <-v.result; err != nil {
		t.Error(err)
	}
}

// TestDrainLetsSessionsFinish: refused are new sessions, present ones end well.
func TestDrainLetsSessionsFinish(t *testing.T) {
	v := serve(t, 20*time.Second, 8)
	id := longSession(1, 8, 60)
	n := newNaive(t, open(id, promptOf(id, 8), 60))
	at, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	n.onToken = func(length int) {
		if length >= 20 { // a commit of several tokens may pass over 20
			once.Do(func() { close(at) })
			<-goOn
		}
	}
	result := make(chan error, 1)
	go func() { result <- n.run(t.Context(), v.c) }()
	select {
	case <-at:
	case err := <-result:
		t.Fatalf("the session ended: %v", err)
	}
	v.stop()
	v.wantHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	eventually(t, "a new session is refused", func() bool {
		err := newNaive(t, open(5, promptOf(5, 8), 40)).run(t.Context(), v.c)
		return err != nil && retryInfo(err) > 0
	})
	err := newNaive(t, open(5, promptOf(5, 8), 40)).run(t.Context(), v.c)
	wantCode(t, err, codes.Unavailable)
	close(goOn)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	n.check()
	if err := <-v.result; err != nil {
		t.Error(err)
	}
}

// TestDrainTimeout: sessions that do not finish are told to resume elsewhere, and do.
func TestDrainTimeout(t *testing.T) {
	v := serve(t, 100*time.Millisecond, 8)
	id := longSession(1, 8, 60)
	deaf, result := paused(t, v.rig, open(id, promptOf(id, 8), 60), 8)
	v.stop()
	err := <-result
	wantCode(t, err, codes.Unavailable)
	if retryInfo(err) == 0 {
		t.Errorf("%v has no RetryInfo", err)
	}
	if err := <-v.result; err != nil {
		t.Error(err)
	}
	w := serve(t, 0, 8)
	deaf.deaf, deaf.onToken = false, nil
	deaf.open.Stream++
	if err := deaf.run(t.Context(), w.c); err != nil {
		t.Fatal(err)
	}
	deaf.check()
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	v := serve(t, 0, 8)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = lis.Close()
	if err := Serve(t.Context(), v.Server, ServeConfig{Listener: lis}); err == nil {
		t.Error("a closed listener was served")
	}
}
