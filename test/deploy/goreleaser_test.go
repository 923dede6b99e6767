package deploy_test

import (
	"os"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

func TestGoreleaser(t *testing.T) {
	f, err := os.Open(root + "/.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := config.LoadReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != 2 || len(p.Builds) == 0 || len(p.SBOMs) == 0 || p.NFPMs[0].PackageName != "outrider" {
		t.Errorf("%+v", p.Builds)
	}
}
