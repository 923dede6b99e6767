package sweep

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Format is the version of Record; readers refuse a later one.
const Format = 1

// Record is one generation, one line of the file. Times in milliseconds.
type Record struct {
	Format   int               `json:"v"`
	Key      string            `json:"key"` // of the cell; equal keys measure the same
	At       time.Time         `json:"at"`
	Way      Way               `json:"way"`
	Depth    int               `json:"draft_at_a_time,omitempty"`
	Settings map[string]string `json:"settings"`
	RTT      float64           `json:"rtt_ms"`
	Workload string            `json:"workload"`
	Task     string            `json:"task,omitempty"`
	Prompt   string            `json:"prompt"` // its id
	Cut      bool              `json:"prompt_cut,omitempty"`
	Repeat   int               `json:"repeat"`
	Seed     uint64            `json:"seed"`

	Tokens       int     `json:"tokens"`
	PromptTokens int     `json:"prompt_tokens"`
	MsPerToken   float64 `json:"ms_per_token"` // request to last token
	FirstToken   float64 `json:"first_token_ms"`
	Total        float64 `json:"total_ms"`
	Passes       int     `json:"passes"`
	Scoring      int     `json:"scoring_passes"`
	Positions    int     `json:"positions"`
	Received     int     `json:"nodes_received"`
	Judged       int     `json:"judged"`
	Accepted     int     `json:"accepted"`
	Late         int     `json:"late"`
	Drafted      int     `json:"drafted"`
	LookedUp     int     `json:"looked_up,omitempty"`
	Uplink       int     `json:"uplink_bytes"`
	Downlink     int     `json:"downlink_bytes"`
	// How each token came: a accepted, c correction, b bonus, r run-ahead, l run ahead to while the edge
	// had proposed the same, u unverified.
	Fates   string `json:"fates"`
	Exact   bool   `json:"exact"`
	Output  string `json:"output"` // hash of the tokens
	Failure string `json:"failure,omitempty"`

	Load    float64 `json:"load_average"` // of one minute when it ended; -1: not known
	Origin  Origin  `json:"origin"`
	Version string  `json:"version"`
}

// Origin is what a generation was measured with.
type Origin struct {
	Target  Model   `json:"target"`
	Draft   Model   `json:"draft"`
	Pace    string  `json:"pace,omitempty"` // emulated cost of the target
	Machine Machine `json:"machine"`
}

// Model identifies a model.
type Model struct {
	Name        string `json:"name"`
	Engine      string `json:"engine"`
	Fingerprint string `json:"fingerprint"` // of the file, or of the mock's settings
	Numerics    string `json:"numerics,omitempty"`
}

// Machine is where it was measured.
type Machine struct {
	System    string `json:"system"` // linux/amd64
	Processor string `json:"processor,omitempty"`
	Cores     int    `json:"cores"`
	Go        string `json:"go"`
}

// key names a cell by all that decides what is measured, versions and machine apart.
func key(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\x00", p)
	}
	return hex.EncodeToString(h.Sum(nil)[:9])
}

// Errors of files.
var (
	ErrRecord = errors.New("not a record of a sweep")
	ErrEmpty  = errors.New("no records")
)

const maxRecord = 4 << 20

// Read reads records; where a cell stands there several times the last one counts. A last line without
// its end is what a killed run left and is passed over: torn says so. Errors name the line.
func Read(r io.Reader) (records []Record, torn bool, err error) {
	at := map[string]int{}
	in := bufio.NewReaderSize(r, 64<<10)
	for line := 1; ; line++ {
		b, err := readLine(in)
		if len(b) > 0 && b[len(b)-1] != '\n' && errors.Is(err, io.EOF) {
			torn = true
			break
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			x, bad := parseRecord(b)
			if bad != nil {
				return nil, false, fmt.Errorf("line %d: %w", line, bad)
			}
			if i, ok := at[x.Key]; ok {
				records[i] = x
			} else {
				at[x.Key] = len(records)
				records = append(records, x)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if len(records) == 0 {
		return nil, torn, ErrEmpty
	}
	return records, torn, nil
}

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxRecord {
			return nil, fmt.Errorf("%w: longer than %d bytes", ErrRecord, maxRecord)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func parseRecord(b []byte) (x Record, err error) {
	if err := json.Unmarshal(b, &x); err != nil {
		return x, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	switch {
	case x.Format == 0 || x.Key == "" || x.Way == "":
		return x, fmt.Errorf("%w: v, key or way is missing", ErrRecord)
	case x.Format > Format:
		return x, fmt.Errorf("%w: format %d is newer than this program's %d", ErrRecord, x.Format, Format)
	case x.Tokens < 0 || x.Judged < 0 || x.Accepted < 0 || x.Passes < 0 || x.Accepted > x.Judged || !(x.Total >= 0) || !(x.MsPerToken >= 0):
		return x, fmt.Errorf("%w: counts that cannot be", ErrRecord)
	}
	return x, nil
}

// ReadFile reads a file, .gz or plain.
func ReadFile(path string) (records []Record, torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		r = z
	}
	if records, torn, err = Read(r); err != nil {
		return nil, torn, fmt.Errorf("%s: %w", path, err)
	}
	return records, torn, nil
}

// Store appends records to a file.
type Store struct {
	f *os.File
	// Done are the cells that the file held when it was opened, failed ones apart.
	Done map[string]bool
	// Torn: the last line had no end and was taken away.
	Torn bool
}

// OpenStore opens or makes a file to go on with.
func OpenStore(path string) (*Store, error) {
	if strings.HasSuffix(path, ".gz") {
		return nil, fmt.Errorf("%s: records cannot be added to a compressed file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	s := &Store{f: f, Done: map[string]bool{}}
	records, torn, err := Read(f)
	if err == nil || errors.Is(err, ErrEmpty) {
		err = s.mend(torn)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, r := range records {
		if r.Failure == "" {
			s.Done[r.Key] = true
		}
	}
	return s, nil
}

// mend cuts a torn last line off and goes to the end.
func (s *Store) mend(torn bool) error {
	end, err := s.f.Seek(0, io.SeekEnd)
	if err != nil || !torn {
		return err
	}
	s.Torn = true
	const block = 4096
	for end > 0 {
		n := min(block, end)
		b := make([]byte, n)
		if _, err := s.f.ReadAt(b, end-n); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			end = end - n + int64(i) + 1
			break
		}
		end -= n
	}
	if err := s.f.Truncate(end); err != nil {
		return err
	}
	_, err = s.f.Seek(0, io.SeekEnd)
	return err
}

// Add writes the records of one cell at once.
func (s *Store) Add(records []Record) error {
	var b bytes.Buffer
	for i := range records {
		if err := json.NewEncoder(&b).Encode(&records[i]); err != nil {
			return err
		}
	}
	if _, err := s.f.Write(b.Bytes()); err != nil {
		return err
	}
	for _, r := range records {
		s.Done[r.Key] = r.Failure == ""
	}
	return nil
}

// Close closes the file.
func (s *Store) Close() error { return s.f.Close() }
