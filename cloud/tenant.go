package cloud

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// TenantHeader is the gRPC metadata in which an edge says whose it is.
const TenantHeader = "outrider-tenant"

// maxTenantName bounds what is believed of a name.
const maxTenantName = 64

// HeaderTenant takes an edge's word for whose a stream is: for networks whose edges are trusted. It fits
// Config.Tenant.
func HeaderTenant(ctx context.Context) string {
	name := ""
	if v := metadata.ValueFromIncomingContext(ctx, TenantHeader); len(v) > 0 {
		name = v[0]
	}
	return name[:min(len(name), maxTenantName)]
}
