package main

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/outrider-llm/outrider/cloud"
)

// tenantOption makes each stream of a connection say whose it is.
func tenantOption(name string) []grpc.DialOption {
	if name == "" {
		return nil
	}
	return []grpc.DialOption{grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string,
		next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
		return next(metadata.AppendToOutgoingContext(ctx, cloud.TenantHeader, name), d, c, method, o...)
	})}
}

// tenantErrors checks what is said of tenants.
func (c *Config) tenantErrors() (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(c.Cloud.Weights)) {
		if w := c.Cloud.Weights[name]; !(w > 0 && w <= 1e6) {
			errs = append(errs, c.from.wrong("cloud.weights["+name+"]", "cloud.weights: %s has %g, must be above 0 and at most a million", name, w))
		}
	}
	for _, r := range c.Edge.Tenant {
		if r < ' ' || r > '~' || len(c.Edge.Tenant) > 64 {
			return append(errs, c.from.wrong("edge.tenant", "edge.tenant is %q, must be at most 64 printable ASCII characters", c.Edge.Tenant))
		}
	}
	return errs
}
