package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// node is a JSON value whose objects keep the order of their keys: properties are generated in it.
type node struct {
	id     int
	kind   byte   // { [ " 0 t f n
	path   string // in the document, as a JSON pointer
	keys   []string
	fields map[string]*node
	items  []*node
	text   string // of a string or number
}

func (n *node) field(key string) *node {
	if n == nil {
		return nil
	}
	return n.fields[key]
}

type nodeReader struct {
	d  *json.Decoder
	id int
}

func parseJSON(source string) (*node, error) {
	if !utf8.ValidString(source) {
		return nil, errors.New("it is not UTF-8")
	}
	r := &nodeReader{d: json.NewDecoder(bytes.NewReader([]byte(source)))}
	r.d.UseNumber()
	n, err := r.value("#", 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := r.d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return n, nil
}

func (r *nodeReader) value(path string, depth int) (*node, error) {
	t, err := r.d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	r.id++
	n := &node{id: r.id, path: path}
	switch v := t.(type) {
	case json.Delim:
		n.kind = byte(v)
		return n, r.children(n, depth)
	case string:
		n.kind, n.text = '"', v
	case json.Number:
		n.kind, n.text = '0', v.String()
	case bool:
		n.kind = 'f'
		if v {
			n.kind = 't'
		}
	default:
		n.kind = 'n'
	}
	return n, nil
}

func (r *nodeReader) children(n *node, depth int) error {
	if n.kind == '{' {
		n.fields = map[string]*node{}
	}
	for r.d.More() {
		if n.kind == '[' {
			c, err := r.value(n.path+"/"+strconv.Itoa(len(n.items)), depth+1)
			if err != nil {
				return err
			}
			n.items = append(n.items, c)
			continue
		}
		t, err := r.d.Token()
		if err != nil {
			return err
		}
		key := t.(string) // the decoder takes nothing else
		c, err := r.value(n.path+"/"+pointerEscape(key), depth+1)
		if err != nil {
			return err
		}
		if _, twice := n.fields[key]; !twice {
			n.keys = append(n.keys, key)
		}
		n.fields[key] = c
	}
	_, err := r.d.Token() // the bracket
	return err
}

func pointerEscape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

// compact writes the value without white space.
func (n *node) compact() string {
	var out strings.Builder
	n.write(&out)
	return out.String()
}

func (n *node) write(out *strings.Builder) {
	switch n.kind {
	case '{':
		for i, k := range n.keys {
			out.WriteByte(",{"[b2i(i == 0)])
			out.WriteString(quote(k) + ":")
			n.fields[k].write(out)
		}
		if len(n.keys) == 0 {
			out.WriteByte('{')
		}
		out.WriteByte('}')
	case '[':
		for i, c := range n.items {
			out.WriteByte(",["[b2i(i == 0)])
			c.write(out)
		}
		if len(n.items) == 0 {
			out.WriteByte('[')
		}
		out.WriteByte(']')
	case '"':
		out.WriteString(quote(n.text))
	case '0':
		out.WriteString(n.text)
	default:
		out.WriteString(map[byte]string{'t': "true", 'f': "false", 'n': "null"}[n.kind])
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
