package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

func newInstall() *cobra.Command {
	c := &cobra.Command{
		Use:   "install",
		Short: "Fetch what an engine needs",
		Long: `Fetch what an engine needs besides this program. The built-in engines need nothing; llamacpp needs
llama.cpp's shared libraries. "outrider doctor" says what is there.`,
		Example: "  outrider install llamacpp",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newInstallLlamacpp())
	return c
}

func newInstallLlamacpp() *cobra.Command {
	var dir, variant string
	c := &cobra.Command{
		Use:   "llamacpp",
		Short: "Fetch llama.cpp's shared libraries",
		Long: `Fetch the shared libraries of llama.cpp ` + library.Version + ` with npm, check them against their known checksum and
unpack them where the llamacpp engine finds them. There are packages for Linux on x86-64 (CPU, CUDA, Vulkan) and
ARM64 (CPU). For other systems, and for CANN, ROCm, SYCL, OpenCL or Metal, build llama.cpp v` + library.Version + ` with
BUILD_SHARED_LIBS=ON and name its folder by the option lib or by ` + library.EnvVariable + `.`,
		Example: "  outrider install llamacpp\n  outrider install llamacpp --variant cuda\n  outrider install llamacpp --dir /opt/outrider/llamacpp",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				dir = library.Host().Default()
			}
			_, err := library.Install(c.Context(), library.Request{Dir: dir, Variant: variant, Say: func(format string, a ...any) {
				fmt.Fprintf(c.OutOrStdout(), format+"\n", a...)
			}})
			if err != nil {
				return err
			}
			report, err := llamacppReport(c.Context(), dir)
			if err != nil {
				return err
			}
			report.Print(c.OutOrStdout())
			if report.Error != "" {
				return fmt.Errorf("the libraries are there but cannot be used on this machine")
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder to install into; default: outrider/llamacpp in the user's data folder")
	c.Flags().StringVar(&variant, "variant", "", "cuda or vulkan; default: CPU only")
	return c
}
