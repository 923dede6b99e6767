package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/models"
)

// span is what the collector heard of one.
type span struct {
	trace, id, parent string
	service, pid      string
	name              string
}

// otlp is an OpenTelemetry collector that keeps what it hears.
type otlp struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []span
}

func startCollector(t *testing.T) (*otlp, string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o, s := &otlp{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(s, o)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return o, lis.Addr().String()
}

func (o *otlp) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, rs := range r.GetResourceSpans() {
		about := map[string]string{}
		for _, a := range rs.GetResource().GetAttributes() {
			about[a.GetKey()] = a.GetValue().GetStringValue()
			if a.GetKey() == "process.pid" {
				about[a.GetKey()] = fmt.Sprint(a.GetValue().GetIntValue())
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				o.spans = append(o.spans, span{hex.EncodeToString(s.GetTraceId()), hex.EncodeToString(s.GetSpanId()),
					hex.EncodeToString(s.GetParentSpanId()), about["service.name"], about["process.pid"], s.GetName()})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// traces returns the spans of each trace.
func (o *otlp) traces() map[string][]span {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string][]span{}
	for _, s := range o.spans {
		all[s.trace] = append(all[s.trace], s)
	}
	return all
}

const (
	canary      = "platypus"
	testRequest = "req-observed-1"
)

// observed is a stack that has answered one request over HTTP, with a name and a telling word in it.
func observed(t *testing.T, env map[string]string) *stack {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	s, err := startStack(t.Context(), stackConfig{rtt: 4 * time.Millisecond, draft: models.DraftName,
		cloudArgs: []string{"--pace", "4ms+0.1ms", "--log-level", "debug", "--log-format", "json"},
		edgeArgs:  []string{"--log-level", "debug", "--log-format", "json"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	req, err := http.NewRequest(http.MethodPost, "http://"+s.edge.http()+"/v1/chat/completions",
		strings.NewReader(`{"messages":[{"role":"user","content":"Tell me of a `+canary+`."}],"max_tokens":24,"temperature":0}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", testRequest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Request-Id") != testRequest {
		t.Fatalf("status %d, request id %q", resp.StatusCode, resp.Header.Get("X-Request-Id"))
	}
	return s
}

// eventually waits for what other processes do.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestOneTraceSpansAllProcesses: HTTP, edge, draft plugin, cloud, target plugin, each below the one
// that asked it.
func TestOneTraceSpansAllProcesses(t *testing.T) {
	o, addr := startCollector(t)
	s := observed(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + addr})
	want := []string{"outrider-edge POST /v1/chat/completions", "outrider-edge generate", "outrider-edge draft",
		"outrider-edge outrider.v1.DecodeService/Decode", "outrider-cloud outrider.v1.DecodeService/Decode", "outrider-cloud queue",
		"outrider-cloud forward", "outrider-plugin outrider.v1.BackendService/Forward"}
	var trace []span
	defer func() {
		if !t.Failed() {
			return
		}
		for id, spans := range o.traces() {
			names := map[string]int{}
			for _, x := range spans {
				names[x.service+" "+x.name]++
			}
			t.Log(id, names)
		}
	}()
	eventually(t, "a trace with "+strings.Join(want, ", "), func() bool {
		for _, spans := range o.traces() {
			has := map[string]bool{}
			for _, x := range spans {
				has[x.service+" "+x.name] = true
			}
			if trace = spans; !slices.ContainsFunc(want, func(w string) bool { return !has[w] }) {
				return true
			}
		}
		return false
	})
	s.stop() // delivers what is left
	byID, plugins := map[string]span{}, map[string]bool{}
	for _, spans := range o.traces() {
		for _, x := range spans {
			byID[x.id] = x
			if x.trace != trace[0].trace && (x.service == "outrider-plugin" || x.name == "generate") {
				t.Errorf("%+v is in a trace of its own", x)
			}
		}
	}
	parents := map[string]string{"generate": "POST /v1/chat/completions", "draft": "generate", "queue": "outrider.v1.DecodeService/Decode",
		"forward": "outrider.v1.DecodeService/Decode"}
	for _, x := range byID {
		up, known := byID[x.parent]
		switch {
		case x.trace != trace[0].trace:
		case !known && x.parent != "":
			t.Errorf("nobody has told of the parent of %+v", x)
		case parents[x.name] != "" && up.name != parents[x.name]:
			t.Errorf("%s is below %s", x.name, up.name)
		case x.service == "outrider-plugin":
			plugins[x.pid] = true
			if up.name != "draft" && up.name != "forward" {
				t.Errorf("a plugin's %s is below %s", x.name, up.name)
			}
		}
	}
	if len(plugins) != 2 {
		t.Errorf("plugins %v, want those of draft and target", plugins)
	}
}

// TestSamplingKeepsNothing: a share of 0 makes nobody record, plugins included.
func TestSamplingKeepsNothing(t *testing.T) {
	o, addr := startCollector(t)
	observed(t, map[string]string{"OUTRIDER_TELEMETRY_OTLP": addr, "OUTRIDER_TELEMETRY_SAMPLE": "0"}).stop()
	if n := len(o.traces()); n > 0 {
		t.Errorf("%d traces", n)
	}
}

// TestRequestIDInAllLogs: edge, cloud and both plugins name the request, and none its text.
func TestRequestIDInAllLogs(t *testing.T) {
	s := observed(t, nil)
	s.stop()
	edge, cloud := s.edge.log.String(), s.cloud.log.String()
	for name, log := range map[string]string{"edge": edge, "cloud": cloud} {
		lines := map[string]string{}
		for line := range strings.Lines(log) {
			for _, msg := range []string{"a generation ended", "a session's stream ended", "a sequence begins"} {
				if strings.Contains(line, `"`+msg+`"`) && strings.Contains(line, `"request":"`+testRequest+`"`) {
					lines[msg] = line
				}
			}
		}
		if lines["a sequence begins"] == "" || lines["a generation ended"]+lines["a session's stream ended"] == "" {
			t.Errorf("the log of the %s does not name the request in %v:\n%s", name, lines, log)
		}
		if strings.Contains(log, canary) {
			t.Errorf("the log of the %s tells what was asked:\n%s", name, log)
		}
	}
}

func TestPromptsAreLoggedWhenAskedFor(t *testing.T) {
	s := observed(t, map[string]string{"OUTRIDER_LOG_PROMPTS": "true"})
	s.stop()
	if log := s.edge.log.String(); !strings.Contains(log, canary) || !strings.Contains(log, "text was given out") {
		t.Error(log)
	}
	if log := s.cloud.log.String(); strings.Contains(log, canary) {
		t.Error(log)
	}
}
