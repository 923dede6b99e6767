package trust

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzFiles: certificates, keys and lists of revoked ones are read, or refused with ErrCertificate.
func FuzzFiles(f *testing.F) {
	a, err := Init(filepath.Join(f.TempDir(), "certs"), "test", AuthorityLife, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	pair, err := a.IssueEdge(Identity{Tenant: "acme", Edge: "laptop"}, LeafLife)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []string{pair.Cert, pair.Key, a.CRL(), a.CA()} {
		text, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		b, _ := pem.Decode(text)
		f.Add(b.Bytes)
	}
	cas, err := ReadCertificates(a.CA())
	if err != nil {
		f.Fatal(err)
	}
	refused := func(t *testing.T, err error) {
		if err != nil && !errors.Is(err, ErrCertificate) {
			t.Fatalf("refused with %v", err)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []string{pemCertificate, pemCRL} {
			blocks, err := decodePEM("f", kind, text)
			refused(t, err)
			ders := append(blocks, text) // as it is, too: PEM hides most mutations
			certs, err := parseCertificates("f", ders[len(ders)-1:])
			refused(t, err)
			for _, c := range certs {
				if id, err := IdentityOf(c); err == nil && (id.Tenant == "" || id.Edge == "") {
					t.Fatalf("the identity %+v was taken", id)
				}
				_ = describe(c)
			}
			for _, der := range ders {
				list, err := parseCRL("f", der, cas)
				refused(t, err)
				if err == nil && list.CheckSignatureFrom(cas[0]) != nil {
					t.Fatal("a list that nobody signed was taken")
				}
			}
		}
	})
}
