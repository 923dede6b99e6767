package trust

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Types of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
	pemCRL         = "X509 CRL"
)

func certError(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrCertificate, fmt.Errorf(format, a...))
}

// writePEM replaces a file as a whole; nobody else may read it.
func writePEM(path, kind string, der []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return certError("%w", err)
	}
	if err := os.WriteFile(path+".part", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return certError("%w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return certError("%w", err)
	}
	return nil
}

// readPEM returns the blocks of one type in a file.
func readPEM(path, kind string) (blocks [][]byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, certError("%w", err)
	}
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == kind {
			blocks = append(blocks, b.Bytes)
		}
	}
	if len(blocks) == 0 {
		return nil, certError("%s holds no PEM block %q", path, kind)
	}
	return blocks, nil
}

// ReadCertificates reads the certificates of a PEM file, the owner's first.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	blocks, err := readPEM(path, pemCertificate)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, b := range blocks {
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return nil, certError("%s: %w", path, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	blocks, err := readPEM(path, pemKey)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(blocks[0])
	if err != nil {
		return nil, certError("%s: %w", path, err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, certError("%s holds a %T, `outrider certs` uses ECDSA keys", path, k)
	}
	return key, nil
}

// readPair reads a certificate and its key for a handshake.
func readPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, certError("%s with %s: %w", cert, key, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, certError("%s: %w", cert, err)
		}
	}
	return &pair, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
