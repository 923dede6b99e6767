//go:build xds

package main

// gRPC's xds:/// scheme. It adds 20 MB to the binary, so it is left out unless asked for (ADR 17).
import _ "google.golang.org/grpc/xds"
