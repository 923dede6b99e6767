"""Noise v1 and Choose v1, from their definitions in speculative/testdata/*.json."""

import math

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
U64 = np.uint64


def _mix(x):
    """SplitMix64's output function; x is an array of unsigned 64-bit integers, which wrap."""
    x = x ^ (x >> U64(30))
    x = x * U64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> U64(27))
    x = x * U64(0x94D049BB133111EB)
    return x ^ (x >> U64(31))


def hashes(seed, choice, position, tokens):
    """The 64 bits behind the noise of each token."""
    word = lambda n: np.array([n & MASK], dtype=U64)
    key = _mix(_mix(word(seed + GOLDEN)) ^ word(choice << 32 | position))
    return _mix(key + (np.asarray(tokens, dtype=U64) + U64(1)) * U64(GOLDEN))


def noise(seed, choice, position, tokens):
    """Gumbel noise of each token, a multiple of 2^-20."""
    u = ((hashes(seed, choice, position, tokens) >> U64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return np.round(-np.log(-np.log(u)) * 2.0**20) * 2.0**-20  # half to even


def penalise(logits, p, prompt_length, log):
    """Penalties and bias, in float32, one rounding per operation."""
    f = np.float32
    out = np.array(logits, dtype=f)
    rep, presence, frequency = f(p.repetition_penalty), f(p.presence_penalty), f(p.frequency_penalty)
    if rep not in (f(0), f(1)) or presence != 0 or frequency != 0:
        generated = {}
        for i, t in enumerate(log):
            generated[t] = generated.get(t, 0) + (i >= prompt_length)
        for t, n in generated.items():
            if t >= len(out):
                continue
            if rep not in (f(0), f(1)):
                out[t] = out[t] / rep if out[t] > 0 else out[t] * rep
            if n > 0:
                out[t] = out[t] - (presence + frequency * f(n))
    for t, bias in p.logit_bias.items():
        if t < len(out):
            out[t] = out[t] + f(bias)
    return out


def choose(logits, p, prompt_length, log):
    """(token, confidence, runner-up or -1) for the position after log. p has the fields of outrider.v1.Sampling."""
    with np.errstate(all="ignore"):
        x = penalise(logits, p, prompt_length, log)
    x = np.where(np.isnan(x), -np.inf, np.minimum(x, np.finfo(np.float32).max)).astype(np.float64)
    ids = np.flatnonzero(x > -np.inf)
    x = x[ids]
    if p.temperature > 0:
        x = x * (1 / float(np.float32(p.temperature)))
        ids, x = _filter(ids, x, p)
        x = x + noise(p.seed, p.choice, len(log), ids)
    if len(ids) == 0:
        return 0, 0.5, -1
    order = np.lexsort((ids, -x))[:2]
    if len(order) == 1:
        return int(ids[order[0]]), 1.0, -1
    gap = x[order[1]] - x[order[0]]
    return int(ids[order[0]]), 1 / (1 + math.exp(gap)), int(ids[order[1]])


def _filter(ids, x, p):
    order = np.lexsort((ids, -x))  # falling, ties to the lower id
    ids, x = ids[order], x[order]
    if p.top_k > 0:
        ids, x = ids[: p.top_k], x[: p.top_k]
    top_p = float(np.float32(p.top_p))
    if 0 < top_p < 1 and len(x):
        mass = np.cumsum(np.exp(x - x[0]))
        n = int(np.searchsorted(mass, top_p * mass[-1])) + 1
        ids, x = ids[:n], x[:n]
    min_p = float(np.float32(p.min_p))
    if min_p > 0 and len(x):
        keep = x >= x[0] + math.log(min_p)
        ids, x = ids[keep], x[keep]
    return ids, x
