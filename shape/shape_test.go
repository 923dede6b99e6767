package shape

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		padding string
		every   time.Duration
		want    string // empty: refused
	}{
		{"off", 0, "off"}, {"", 0, "off"}, {"", 20 * time.Millisecond, "128 each 20ms"}, {"buckets", 0, "64,128,256,512,1024"},
		{"64, 300", 0, "64,300"}, {"256", time.Second, "256 each 1s"}, {"4096", 20 * time.Millisecond, "4096 each 20ms"},
		{"64,256", time.Second, ""}, {"buckets", time.Second, ""}, {"64", time.Millisecond, ""}, {"64", -1, ""}, {"64", time.Minute, ""}, {"300,64", 0, ""},
		{"16", 0, ""}, {"8192", 0, ""}, {"x", 0, ""}, {"4096", 2 * time.Millisecond, ""}, {"32,33,34,35,36,37,38,39,40", 0, ""},
	} {
		s, err := Parse(c.padding, c.every)
		if (c.want == "") != errors.Is(err, ErrShape) || err == nil && s.String() != c.want {
			t.Errorf("%q %s: %v, %v", c.padding, c.every, s, err)
		}
		if err != nil {
			continue
		}
		if back, err := FromProto(s.ToProto()); err != nil || back.String() != s.String() {
			t.Errorf("%s came back as %s, %v", s, back, err)
		}
	}
	if _, err := FromProto(&outriderv1.Shape{Sizes: []uint32{1 << 31}}); !errors.Is(err, ErrShape) {
		t.Error(err)
	}
	if _, err := FromProto(&outriderv1.Shape{EveryUs: 5000}); !errors.Is(err, ErrShape) {
		t.Error(err)
	}
}

func ack(n int) *outriderv1.DecodeRequest {
	return &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Packed{Packed: bytes.Repeat([]byte{7}, n)}}
}

// Messages of any length come out as they went in, in frames of the agreed sizes.
func TestFrames(t *testing.T) {
	for _, s := range []Shape{{Sizes: []int{32}, Every: time.Second}, {Sizes: []int{64, 128, 1024}}} {
		w, r := NewWriter(s), NewReader(1<<16)
		var sent, got []proto.Message
		for i := range 200 {
			for range i % 3 {
				m := ack(i * i % 3000)
				if sent = append(sent, m); w.Add(m) != nil {
					t.Fatal("not encoded")
				}
			}
			for n := 0; w.Pending() > 0 || n == 0; n++ { // an empty frame, too
				f := w.Frame()
				if !isOne(s.Sizes, len(f)) {
					t.Fatalf("a frame of %d bytes", len(f))
				}
				if err := r.Add(f); err != nil {
					t.Fatal(err)
				}
				for {
					b, ok, err := r.Next()
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
					m := &outriderv1.DecodeRequest{}
					if err := proto.Unmarshal(b, m); err != nil {
						t.Fatal(err)
					}
					got = append(got, m)
				}
			}
		}
		if len(got) != len(sent) {
			t.Fatalf("%d of %d messages came", len(got), len(sent))
		}
		for i := range got {
			if !proto.Equal(got[i], sent[i]) {
				t.Fatalf("message %d changed", i)
			}
		}
	}
}

func isOne(sizes []int, n int) bool {
	for _, s := range sizes {
		if s == n {
			return true
		}
	}
	return false
}

// First messages have few lengths, exactly, whatever they hold.
func TestOpening(t *testing.T) {
	lengths := map[int]bool{}
	for n := range 40_000 {
		if n > 3000 && n%61 != 0 {
			continue
		}
		o := &outriderv1.Open{Session: make([]byte, n)}
		size := proto.Size(o)
		o.Padding = Opening(size, 2)
		if got := proto.Size(o); got < size || got > max(minOpening, 2*size+8) && got > size+MaxOpening {
			t.Fatalf("%d bytes became %d", size, got)
		} else {
			lengths[got] = true
		}
		d := &outriderv1.Opened{Target: &outriderv1.TargetInfo{Name: string(make([]byte, n))}}
		d.Padding = Opening(proto.Size(d), 1)
		lengths[proto.Size(d)] = true
	}
	want := []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 48 << 10}
	for _, n := range want {
		if !lengths[n] {
			t.Errorf("none of %d bytes", n)
		}
	}
	if len(lengths) != len(want) {
		t.Errorf("lengths %v", lengths)
	}
}

// FuzzFrames: whatever frames hold, messages and what is held stay within the bound.
func FuzzFrames(f *testing.F) {
	w := NewWriter(Shape{Sizes: []int{32}})
	for _, n := range []int{0, 5, 100} {
		if err := w.Add(ack(n)); err != nil {
			f.Fatal(err)
		}
		f.Add(w.Frame(), w.Frame())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte{0x80, 0, 1, 0})
	const limit = 100
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := NewReader(limit)
		for _, frame := range [][]byte{a, b, a, b, a} {
			if err := r.Add(frame); err != nil {
				return
			}
			for {
				m, ok, err := r.Next()
				if err != nil {
					if !errors.Is(err, ErrShape) {
						t.Fatal(err)
					}
					return
				}
				if !ok {
					break
				}
				if len(m) == 0 || len(m) > limit {
					t.Fatalf("a message of %d bytes", len(m))
				}
			}
			if len(r.pending) > limit+10 {
				t.Fatalf("%d bytes are held", len(r.pending))
			}
		}
	})
}
