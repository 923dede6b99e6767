//go:build !linux

package llamacpp

import "errors"

func memoryFile(string, []byte) (path string, remove func(), err error) {
	return "", nil, errors.ErrUnsupported
}
