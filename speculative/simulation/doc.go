// Package simulation runs the core on a virtual clock: sessions of an edge (Proposer), a link and a
// cloud (Verifier, Plan) around synthetic models that are pure functions of a seed. A run is
// deterministic; it injects the faults that its Config names and checks the invariants I1 to I12 of
// package speculative after every event, each by a function of its own (checks_edge.go,
// checks_cloud.go). What is expected is recomputed naively (naive.go) from what went over the link.
package simulation
