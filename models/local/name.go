package local

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	splitName = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)
	quantName = regexp.MustCompile(`(?i)(?:^|[-._])((?:i?q\d|bf16|f16|fp16|f32|fp32|mxfp4|tq\d)[a-z0-9_]*)$`)
)

// Split takes the name of one part of a split GGUF ("x-00001-of-00003.gguf") apart. ok is false for
// every other name.
func Split(name string) (stem string, part, parts int, ok bool) {
	m := splitName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, 0, false
	}
	part, _ = strconv.Atoi(m[2]) // five digits
	parts, _ = strconv.Atoi(m[3])
	return m[1], part, parts, part >= 1 && part <= parts
}

// Stem is a file's name (with its folders) without ".gguf" and without the mark of a part.
func Stem(name string) string {
	if stem, _, _, ok := Split(name); ok {
		return stem
	}
	if n := len(name) - len(".gguf"); n > 0 && strings.EqualFold(name[n:], ".gguf") {
		return name[:n]
	}
	return name
}

// Quant is the quantisation that a file's name ends with, in capitals ("Q4_K_M", "F16"), or "".
func Quant(name string) string {
	m := quantName.FindStringSubmatch(path.Base(Stem(name)))
	if m == nil {
		return ""
	}
	q := strings.ToUpper(m[1])
	if strings.HasPrefix(q, "FP") {
		return "F" + q[2:]
	}
	return q
}

// Projector says that a file holds the eyes or ears of a multimodal model, or statistics for
// quantising, and is no language model by itself.
func Projector(name string) bool {
	base := strings.ToLower(path.Base(name))
	return strings.Contains(base, "mmproj") || strings.Contains(base, "imatrix")
}
