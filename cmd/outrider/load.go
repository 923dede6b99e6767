package main

import (
	"github.com/spf13/cobra"
)

func newLoad() *cobra.Command {
	return &cobra.Command{Use: "load", Short: "x", Hidden: true}
}
