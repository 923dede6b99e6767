package edge

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// FuzzDownlink: whatever a cloud sends, twice, is refused as a breach of the protocol, or as another log than before, or extends the log as I3 says.
func FuzzDownlink(f *testing.F) {
	for _, m := range []*outriderv1.Commit{
		{Start: 10, Tokens: []uint32{5, 6}, Fates: []outriderv1.Fate{4, 4}, JudgedNode: 1, Load: 1, Heard: 3, AgeUs: 9},
		{Start: 10, Tokens: []uint32{1 << 31}, Fates: []outriderv1.Fate{1}},
		{Start: 9, Tokens: []uint32{7}, Fates: []outriderv1.Fate{9}, Finish: outriderv1.Finish_FINISH_STOP, Usage: &outriderv1.Usage{Drafted: 1 << 63}},
		{Start: 10, Finish: outriderv1.Finish_FINISH_END, Logprobs: []*outriderv1.Logprobs{{Chosen: -1, Tokens: []uint32{1}, Values: []float32{-2}}}},
	} {
		b, err := proto.Marshal(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: m}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		prompt := prompt(1, 10)
		p := speculative.NewProposer(speculative.ProposerConfig{}, prompt)
		p.LinkUp(32)
		for range 2 {
			var m outriderv1.DecodeResponse
			if proto.Unmarshal(b, &m) != nil || m.GetCommit() == nil {
				return
			}
			had := slices.Clone(p.Log())
			c, err := commitFromProto(m.GetCommit())
			if err == nil {
				err = p.Commit(c)
			}
			if err != nil {
				if !errors.Is(err, speculative.ErrProtocol) && !errors.Is(err, speculative.ErrDiverged) {
					t.Fatal(err)
				}
				return
			}
			if log := p.Log(); !slices.Equal(log[:len(had)], had) || len(log) > c.Start+len(c.Tokens) && len(log) > len(had) || len(p.Fates()) != len(log)-len(prompt) {
				t.Fatalf("the log %v became %v by a commit at %d of %d tokens", had, log, c.Start, len(c.Tokens))
			}
			p.Ready(0)
			_ = usageToProto(usageFromProto(m.GetCommit().GetUsage()))
		}
	})
}
