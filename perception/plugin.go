package perception

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/perception/media"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// PluginName is the go-plugin name of the service.
const PluginName = "perception"

// grpcPlugin is the go-plugin side of PerceptionService; a host leaves server nil.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

var _ plugin.GRPCPlugin = (*grpcPlugin)(nil)

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	outriderv1.RegisterPerceptionServiceServer(s, p.server)
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return outriderv1.NewPerceptionServiceClient(conn), nil
}

// Serve is the main function of a perception plugin: see backend.Serve.
func Serve(open Opener) {
	backend.ServeService(PluginName, &grpcPlugin{server: &server{open: open}}, func() error { return nil })
}

// server serves an engine.
type server struct {
	outriderv1.UnimplementedPerceptionServiceServer
	open Opener

	mu     sync.Mutex
	engine Engine
}

// Open implements the service.
func (s *server) Open(_ context.Context, r *outriderv1.OpenRequest) (*outriderv1.OpenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		return nil, status.Error(codes.FailedPrecondition, "it is open already")
	}
	e, err := s.open(r.GetOptions())
	if err != nil {
		return nil, toStatus(err)
	}
	s.engine = e
	a := e.Abilities()
	return &outriderv1.OpenResponse{Engine: a.Engine, Transcribes: a.Transcribes, Speaks: a.Speaks, Reads: a.Reads, Missing: a.Missing}, nil
}

func (s *server) opened() (Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil, status.Error(codes.FailedPrecondition, "call Open first")
	}
	return s.engine, nil
}

// Transcribe implements the service.
func (s *server) Transcribe(stream grpc.BidiStreamingServer[outriderv1.TranscribeRequest, outriderv1.TranscribeResponse]) error {
	e, err := s.opened()
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	pcm := first.GetPcm()
	next := func() ([]byte, error) {
		for len(pcm) == 0 {
			m, err := stream.Recv()
			if err != nil {
				return nil, err
			}
			pcm = m.GetPcm()
		}
		b := pcm
		pcm = nil
		return b, nil
	}
	text, err := e.Transcribe(stream.Context(), first.GetLanguage(), next, func(text string) error {
		return stream.Send(&outriderv1.TranscribeResponse{Text: text})
	})
	if err != nil {
		return toStatus(err)
	}
	return stream.Send(&outriderv1.TranscribeResponse{Text: text, Final: true})
}

// maxPiece is how many samples one message carries.
const maxPiece = 1 << 16

// Speak implements the service.
func (s *server) Speak(r *outriderv1.SpeakRequest, stream grpc.ServerStreamingServer[outriderv1.SpeakResponse]) error {
	e, err := s.opened()
	if err != nil {
		return err
	}
	speech := media.Speech{Text: r.GetText(), Language: r.GetLanguage(), Voice: r.GetVoice(), Speed: float64(r.GetSpeed())}
	return toStatus(e.Speak(stream.Context(), speech, func(p media.Sound) error {
		for len(p.PCM) > 0 {
			n := min(maxPiece, len(p.PCM))
			if err := stream.Send(&outriderv1.SpeakResponse{Rate: uint32(p.Rate), Pcm: media.Sound{PCM: p.PCM[:n]}.Bytes()}); err != nil {
				return err
			}
			p.PCM = p.PCM[n:]
		}
		return nil
	}))
}

// Read implements the service.
func (s *server) Read(ctx context.Context, r *outriderv1.ReadRequest) (*outriderv1.ReadResponse, error) {
	e, err := s.opened()
	if err != nil {
		return nil, err
	}
	page, err := e.Read(ctx, media.Question{Image: r.GetImage(), Language: r.GetLanguage(), Text: r.GetQuestion()})
	if err != nil {
		return nil, toStatus(err)
	}
	out := &outriderv1.ReadResponse{Text: page.Text, Confidence: float32(page.Confidence)}
	for _, b := range page.Barcodes {
		out.Barcodes = append(out.Barcodes, &outriderv1.Barcode{Kind: b.Kind, Text: b.Text})
	}
	return out, nil
}

// kinds relates the sentinels and the wire's codes; one place for both directions.
func kinds() map[codes.Code]error {
	return map[codes.Code]error{codes.InvalidArgument: media.ErrMedia, codes.Unimplemented: media.ErrMissing, codes.Internal: media.ErrEngine}
}

func toStatus(err error) error {
	if err == nil {
		return nil
	}
	for code, kind := range kinds() {
		if errors.Is(err, kind) {
			return status.Error(code, strings.TrimPrefix(oneLine(err.Error()), kind.Error()+": "))
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Internal, oneLine(err.Error()))
}

// deadlineSlack is how far the two sides of a call may be apart in seeing its deadline pass.
const deadlineSlack = 20 * time.Millisecond

// fromStatus is what the host makes of a failed call.
func fromStatus(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if e := ctx.Err(); e != nil {
		return e
	}
	st := status.Convert(err)
	// The plugin has the same deadline and may see it pass a moment before this side does.
	if d, ok := ctx.Deadline(); st.Code() == codes.DeadlineExceeded || ok && time.Until(d) < deadlineSlack {
		return context.DeadlineExceeded
	}
	if kind, ok := kinds()[st.Code()]; ok {
		return fmt.Errorf("%w: %s", kind, oneLine(st.Message()))
	}
	return fmt.Errorf("%w: %s", media.ErrEngine, oneLine(st.Message()))
}

// oneLine folds a text of foreign origin into one line of bounded length.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(media.Plain(s)), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
