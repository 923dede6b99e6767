// Package speculative is Outrider's core: what decides, without clock, goroutine or I/O. Time comes
// in as an argument, randomness as a counter-based function of the request's seed, so the same
// code runs in production, in seeded simulation and on a virtual clock.
//
// Proposer (edge) and Verifier (cloud) are the two halves of one session; Plan packs the sessions
// of one target into a step; Sampler makes a model's choices with coupled noise, identically for
// draft and target.
//
// # Invariants
//
// Each is a named check of package simulation, which runs all this on a virtual clock.
//
//   - I1 coupled: the concatenated commits equal the target-only log, exactly, under any schedule of
//     delays, cuts, resumes, duplicates, wrong and hostile proposals.
//   - I2 a node is scored only if its whole path agrees with the log.
//   - I3 committed positions reach the client once each, in order.
//   - I4 nodes in flight, commits beyond the Ack and cloud memory per session stay within bounds.
//   - I5 progress: with a live link and a fair scheduler every session finishes.
//   - I6 one session alone, run-ahead at 1: virtual time to finish is at most 1.02 times that of
//     cloud-only streaming on the same link, for every agreement and round-trip time.
//   - I7 the pending set equals a naive recomputation from everything delivered.
//   - I8 an honest run raises no fault; every malformed message raises one.
//   - I9 no target pass after end, cancel or fencing, or without credit; none for run-ahead while a
//     live node waits that the scheduler would have taken.
//   - I10 committed in a step = accepted + 1, unless the session ends in it.
//   - I11 a node is sent once per stream, never for a position known as committed.
//   - I12 no drafted node that agrees with the log is lost; no unsent node remains for long while
//     drafting rests and the link is up.
package speculative
