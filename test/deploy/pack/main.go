// Command pack makes a Debian package by deploy/packages/nfpm.yaml. Run from the repository's root:
//
//	go run -C test/deploy ./pack -root "$PWD" -binary dist/linux-arm64/outrider -arch arm64 -version 1.0.0 -out dist/outrider_arm64.deb
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
)

func main() {
	root := flag.String("root", ".", "the repository's root, to which other paths are relative")
	binary := flag.String("binary", "", "the program for that architecture")
	arch := flag.String("arch", "amd64", "Go's name of the architecture")
	version := flag.String("version", "0.0.0", "of the package")
	out := flag.String("out", "", "the package to write")
	flag.Parse()
	if err := pack(*root, *binary, *arch, *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(root, binary, arch, version, out string) (err error) {
	if binary == "" || out == "" {
		return errors.New("-binary and -out are needed")
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	vars := map[string]string{"ARCH": arch, "VERSION": version, "BINARY": binary}
	conf, err := nfpm.ParseFileWithEnvMapping(filepath.Join("deploy", "packages", "nfpm.yaml"), func(k string) string { return vars[k] })
	if err != nil {
		return err
	}
	info, err := conf.Get("deb")
	if err != nil {
		return err
	}
	for _, c := range info.Contents {
		c.Source = os.Expand(c.Source, func(k string) string { return vars[k] })
	}
	p, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return p.Package(nfpm.WithDefaults(info), f)
}
