package media

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/gif"  // a format that is read
	_ "image/jpeg" // a format that is read
	"image/png"
	"strings"
)

// maxSide is the longest side that a page is scaled down to, in pixels: what text recognition needs.
const maxSide = 2400

// ParseDataURL reads "data:image/png;base64,...": the media type and the bytes, at most limit. Errors
// wrap ErrMedia.
func ParseDataURL(s string, limit int) (kind string, data []byte, err error) {
	rest, ok := strings.CutPrefix(s, "data:")
	if !ok {
		scheme, _, _ := strings.Cut(s, ":")
		return "", nil, fmt.Errorf("%w: a URL beginning with %.12q is not fetched: send the file itself as data:image/png;base64 and the data", ErrMedia, scheme)
	}
	head, body, ok := strings.Cut(rest, ",")
	kind, encoded := strings.CutSuffix(head, ";base64")
	switch {
	case !ok || !encoded:
		return "", nil, fmt.Errorf("%w: the data: URL is not base64: send data:image/png;base64 and the data", ErrMedia)
	case len(kind) > 100:
		return "", nil, fmt.Errorf("%w: the data: URL's media type has %d bytes", ErrMedia, len(kind))
	case base64.StdEncoding.DecodedLen(len(body)) > limit+2:
		return "", nil, fmt.Errorf("%w: the data: URL holds more than %d bytes: send a smaller file", ErrMedia, limit)
	}
	kind, _, _ = strings.Cut(kind, ";")
	data, err = Base64(body)
	return strings.ToLower(kind), data, err
}

// Base64 decodes, with padding or without. Errors wrap ErrMedia.
func Base64(s string) ([]byte, error) {
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: not valid base64: %w", ErrMedia, err)
	}
	return data, nil
}

// CleanImage decodes an image and writes it anew as a grey PNG of bounded size, so that no other program sees what
// came from outside. Its size is checked before a pixel is decoded. Errors wrap ErrMedia.
func CleanImage(b []byte) ([]byte, error) {
	if len(b) > MaxImage {
		return nil, fmt.Errorf("%w: the image has %d bytes, at most %d are taken", ErrMedia, len(b), MaxImage)
	}
	c, kind, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: not a PNG, JPEG or GIF image", ErrMedia)
	}
	if c.Width <= 0 || c.Height <= 0 || int64(c.Width)*int64(c.Height) > MaxPixels {
		return nil, fmt.Errorf("%w: the image is %d x %d, at most %d million pixels are read: scale it down", ErrMedia, c.Width, c.Height, MaxPixels>>20)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: the %s image is broken: %w", ErrMedia, strings.ToUpper(kind), err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, shrink(img)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMedia, err)
	}
	return out.Bytes(), nil
}

// shrink makes an image grey, on white where it is transparent, and no side longer than maxSide, by means over boxes.
func shrink(src image.Image) *image.Gray {
	r := src.Bounds()
	k := max(1, (max(r.Dx(), r.Dy())+maxSide-1)/maxSide)
	dst := image.NewGray(image.Rect(0, 0, max(1, r.Dx()/k), max(1, r.Dy()/k)))
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			sum, n := uint64(0), uint64(0)
			for dy := range min(k, r.Dy()-y*k) {
				for dx := range min(k, r.Dx()-x*k) {
					cr, cg, cb, ca := src.At(r.Min.X+x*k+dx, r.Min.Y+y*k+dy).RGBA()
					sum += uint64((299*cr+587*cg+114*cb)/1000 + 0xffff - ca)
					n++
				}
			}
			dst.Pix[y*dst.Stride+x] = uint8(sum / max(1, n) >> 8)
		}
	}
	return dst
}
