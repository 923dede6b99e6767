package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/outrider-llm/outrider/perception/media"
)

// tap is a TCP proxy that keeps all that went through it.
type tap struct {
	lis net.Listener
	to  string
	mu  sync.Mutex
	all []byte
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{lis: lis, to: to}
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go p.carry(c)
		}
	}()
	return p
}

func (p *tap) carry(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer d.Close()
	go io.Copy(c, io.TeeReader(d, p))
	io.Copy(d, io.TeeReader(c, p))
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, b...)
	return len(b), nil
}

func (p *tap) seen() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.all)
}

// standIns are shell scripts in the places of the programs, so that the test runs anywhere; the recogniser swallows
// its input and "hears" one sentence.
func standIns(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"pocketsphinx_continuous": "cat >/dev/null; echo tell me a story",
		"tesseract":               `printf '5\t1\t1\t1\t1\t1\t0\t0\t9\t9\t95\tSECRETWORD\n'`,
		"zbarimg":                 "exit 4",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	options := ""
	for _, name := range []string{"pocketsphinx_continuous", "tesseract", "zbarimg"} {
		options += fmt.Sprintf("    %s: %s\n", name, filepath.Join(dir, name))
	}
	return "perception:\n  engine: local\n  options:\n" + options
}

// TestMediaNeverCrossTheCloudLink sends an image and a recording through an edge whose link to the cloud is tapped.
func TestMediaNeverCrossTheCloudLink(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	config := filepath.Join(dir, "outrider.yaml")
	if err := os.WriteFile(config, []byte(standIns(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	cloud, err := startServer(ctx, dir, "cloud", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "1s")
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.stop()
	wire := newTap(t, cloud.addr())
	edge, err := startServer(ctx, dir, "edge", "--config", config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--cloud", wire.lis.Addr().String(), "--cache", filepath.Join(dir, "tokenizers"))
	if err != nil {
		t.Fatal(err)
	}
	defer edge.stop()
	picture, recording := noisePicture(), noiseSound()
	body := fmt.Sprintf(`{"messages":[{"role":"user","content":[{"type":"text","text":"Tell me."},{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}},
		{"type":"input_audio","input_audio":{"data":"%s","format":"wav"}}]}],"max_tokens":8,"temperature":0}`,
		base64.StdEncoding.EncodeToString(picture), base64.StdEncoding.EncodeToString(recording))
	if code, got := post(t, "http://"+edge.http()+"/v1/chat/completions", body); code != 200 {
		t.Fatal(code, got)
	}
	all := wire.seen()
	if len(all) < 100 {
		t.Fatalf("the tap saw %d bytes only", len(all))
	}
	for name, data := range map[string][]byte{"image": picture, "recording": recording, "samples": recording[44:]} {
		if at := crossed(all, data); at >= 0 {
			t.Errorf("bytes of the %s are on the wire, from its byte %d", name, at)
		}
	}
	if crossed(append(all, picture[200:300]...), picture) < 0 || crossed(append(all, base64.StdEncoding.EncodeToString(recording[300:400])...), recording) < 0 {
		t.Error("the test would not see media on the wire")
	}
}

// crossed looks for any 12 bytes of data, as they are or in base64 at any alignment; -1: there are none.
func crossed(wire, data []byte) int {
	const n = 12
	seen := map[string]bool{}
	for i := 0; i+16 <= len(wire); i++ {
		seen[string(wire[i:i+n])], seen[string(wire[i:i+16])] = true, true
	}
	for i := 64; i+n <= len(data); i++ {
		if seen[string(data[i:i+n])] || seen[base64.StdEncoding.EncodeToString(data[i : i+n])[:16]] {
			return i
		}
	}
	return -1
}

func noisePicture() []byte {
	r := rand.New(rand.NewPCG(3, 4))
	img := image.NewGray(image.Rect(0, 0, 40, 40))
	for x := range 40 {
		for y := range 40 {
			img.SetGray(x, y, color.Gray{Y: uint8(r.Uint32())})
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

func noiseSound() []byte {
	r := rand.New(rand.NewPCG(5, 6))
	s := media.Sound{Rate: media.Rate, PCM: make([]int16, 4000)}
	for i := range s.PCM {
		s.PCM[i] = int16(r.Uint32())
	}
	return media.WAV(s)
}

func TestPerceptionSettings(t *testing.T) {
	for arg, want := range map[string]string{"loud": "perception.engine", "openai-http": ""} {
		t.Setenv("OUTRIDER_PERCEPTION_ENGINE", arg)
		code, out, errs := outrider(t, "", "doctor")
		if want == "" && (code != 0 || !strings.Contains(out, "perception.options.transcribe")) || want != "" && code == 0 {
			t.Errorf("%s: %d %s %s", arg, code, out, errs)
		}
	}
}
