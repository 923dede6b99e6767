package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

func newTalk() *cobra.Command {
	var r requestFlags
	var wav, out, system, language, voice string
	var hurry, asJSON, bargeIn bool
	var hang time.Duration
	c := &cobra.Command{
		Use:   "talk [flags]",
		Short: "Speak with the target: microphone in, loudspeaker out",
		Long: `Speak with the target through a running edge. What you say is recognised on this device while you speak
(perception.engine, local unless set), shown, and sent as text; the answer is spoken sentence by sentence while
it is still being decoded. Begin to speak and it stops: with a loudspeaker it may hear itself, so use headphones or
--barge-in=false. After each answer the time from the end of your speech to the first spoken sound is told.

The microphone is parecord's, arecord's or sox's, the loudspeaker pacat's, aplay's or sox's; --wav and --out need neither.
"outrider doctor" lists what is missing.`,
		Example: `  outrider talk
  outrider talk --wav question.wav --out answer.wav
  outrider talk --wav question.wav --out answer.wav --hurry --json | jq .first_sound_ms`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			req, err := r.request()
			if err != nil {
				return err
			}
			if hang < 100*time.Millisecond || hang > 5*time.Second {
				return usagef("--hang is %s, must be from 100ms to 5s", hang)
			}
			if cfg.Perception.off() {
				cfg.Perception.Engine = "local"
			}
			senses, err := cfg.Perception.launch(c.Context(), slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer senses.Close() //nolint:errcheck // it never fails
			if a := senses.Abilities(); !a.Transcribes || !a.Speaks {
				return fmt.Errorf("perception cannot hear and speak here: %s", firstMissing(a.Missing))
			}
			source, err := soundSource(wav, hurry)
			if err != nil {
				return err
			}
			sound, err := soundPlayer(out, hurry)
			if err != nil {
				return err
			}
			edge, err := dialEdge(cfg.Edge.Listen)
			if err != nil {
				return err
			}
			defer func() { _ = edge.Close() }() // nothing is left to lose
			t := newTalker(talker{answer: edge.generate, senses: senses, player: sound, req: req, system: system, language: language, voice: voice,
				bargeIn: bargeIn && !hurry, json: asJSON, out: c.OutOrStdout(), notes: c.ErrOrStderr()}, hang)
			return firstOf(t.run(c.Context(), source), sound.close())
		},
	}
	f := c.Flags()
	r.add(f)
	addEdgeFlag(c)
	f.StringVar(&wav, "wav", "", "hear this WAV file, at its own pace, instead of the microphone")
	f.StringVar(&out, "out", "", "write what would be heard to this WAV file instead of playing it")
	f.BoolVar(&hurry, "hurry", false, "take --wav as fast as it can be read and --out as fast as it is made")
	f.StringVar(&system, "system", "", "system message")
	f.StringVar(&language, "language", "", "that is spoken, such as en; default: the engine's own")
	f.StringVar(&voice, "voice", "", "the engine's name of a voice")
	f.BoolVar(&bargeIn, "barge-in", true, "stop speaking when the person speaks")
	f.DurationVar(&hang, "hang", 600*time.Millisecond, "silence that ends what a person says")
	f.BoolVar(&asJSON, "json", false, "print one JSON object per turn")
	return c
}

func firstMissing(list []string) string {
	if len(list) == 0 {
		return "see `outrider doctor`"
	}
	return list[0]
}

// soundSource is where speech comes from.
func soundSource(wav string, hurry bool) (source, error) {
	if wav != "" {
		return wavSource(wav, hurry)
	}
	p := firstOfPrograms(recorders())
	if p == nil {
		return nil, usagef("no program records here: apt-get install alsa-utils, or name a file with --wav")
	}
	return microphone(p), nil
}

// soundPlayer is where speech goes.
func soundPlayer(out string, hurry bool) (player, error) {
	if out != "" {
		if s, err := os.Stat(filepath.Dir(out)); err != nil {
			return nil, usagef("--out: %w", err)
		} else if !s.IsDir() {
			return nil, usagef("--out: %s is no folder", filepath.Dir(out))
		}
		wait := pause
		if hurry {
			wait = noPause
		}
		return &filePlayer{path: out, wait: wait}, nil
	}
	p := firstOfPrograms(players())
	if p == nil {
		return nil, usagef("no program plays here: apt-get install alsa-utils, or name a file with --out")
	}
	return devicePlayer{p}, nil
}
