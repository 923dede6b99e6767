"""Lets a trained model write: text for the draft to learn from, or a few samples to read.

usage: sample.py MODEL.pt TOK.json TRAIN.npy OUT.npy ROUNDS [SEED]     rounds of 64 windows of 512 tokens
       sample.py MODEL.pt TOK.json --show PROMPT...                    greedy and at 0.7, to the terminal

Every window starts with <|endoftext|> and the first 1 to 48 tokens of a training document; a
quarter of the windows each is written at temperature 0, 0.5, 0.7 and 1.0.
"""
import sys
import numpy as np, torch, torch.nn.functional as F
from bpe import B2U, Tokenizer
from train import load, rope, rotate


class Writer:
    """Runs a model one position at a time for several rows, keeping keys and values."""

    def __init__(self, m, rows, ctx):
        self.m, self.n, c = m, 0, m.cfg
        self.cos, self.sin = rope(ctx, c["dim"] // c["heads"])
        self.kv = torch.zeros(c["layers"], 2, rows, c["heads"], ctx, c["dim"] // c["heads"])

    def step(self, ids):
        """ids: one token a row; returns the logits after it."""
        m, n = self.m, self.n
        h = m.e(ids)
        for l, b in enumerate(m.b):
            y = b.n1(h)
            q, k, v = (z(y).view(len(ids), b.heads, 1, -1) for z in (b.q, b.k, b.v))
            c, s = self.cos[n : n + 1], self.sin[n : n + 1]
            self.kv[l, 0, :, :, n : n + 1] = rotate(k, c, s)
            self.kv[l, 1, :, :, n : n + 1] = v
            w = rotate(q, c, s) @ self.kv[l, 0, :, :, : n + 1].mT * q.shape[-1] ** -0.5
            h = h + b.o((w.softmax(-1) @ self.kv[l, 1, :, :, : n + 1]).reshape(len(ids), -1))
            y = b.n2(h)
            h = h + b.d(F.silu(b.g(y)) * b.u(y))
        self.n += 1
        return m.n(h) @ m.e.weight.T


@torch.no_grad()
def write(m, prompts, heats, ctx, gen):
    """Continues each prompt (token ids) to ctx tokens at its temperature; an array of rows."""
    rows = len(prompts)
    out = np.zeros((rows, ctx), dtype=np.int64)
    w, heat = Writer(m, rows, ctx), torch.tensor(heats)[:, None]
    size = np.array([len(p) for p in prompts])
    for i, p in enumerate(prompts):
        out[i, : len(p)] = p[:ctx]
    for n in range(ctx - 1):
        lg = w.step(torch.from_numpy(out[:, n]))
        u = -torch.log(-torch.log(torch.rand(lg.shape, generator=gen).clamp(1e-9, 1 - 1e-7)))
        pick = (lg + heat * u).argmax(-1).numpy()  # Gumbel: argmax(l/T + u) = argmax(l + T u)
        free = size <= n + 1
        out[free, n + 1] = pick[free]
    return out


def decode(tok, ids):
    back = {c: b for b, c in B2U.items()}
    text = "".join(t if t.startswith("<|") else bytes(back[c] for c in t).decode("latin-1") for t in (tok.vocab[i] for i in ids))
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def show(m, tok, prompts):
    ids = [[tok.id["<|endoftext|>"]] + tok.encode(p) for p in prompts for _ in range(2)]
    rows = write(m, ids, [0.0, 0.7] * len(prompts), 300, torch.Generator().manual_seed(5))
    for i, r in enumerate(rows):
        r = list(r)
        ends = [r.index(e, len(ids[i])) for e in (tok.id["<|endoftext|>"], tok.id["<|end|>"]) if e in r[len(ids[i]) :]]
        print(f"--- temperature {(0, 0.7)[i % 2]}\n{decode(tok, r[1 : min(ends, default=len(r))])}\n")


def main():
    m, tok = load(sys.argv[1]), Tokenizer(sys.argv[2])
    if sys.argv[3] == "--show":
        return show(m, tok, sys.argv[4:])
    data, rounds, seed = np.load(sys.argv[3]), int(sys.argv[5]), int(sys.argv[6]) if len(sys.argv) > 6 else 1
    rng, gen, all_ = np.random.default_rng(seed), torch.Generator().manual_seed(seed), []
    starts = np.flatnonzero(data[:-600] == tok.id["<|endoftext|>"])
    for i in range(rounds):
        at = rng.choice(starts, 64)
        prompts = [data[a : a + 2 + rng.integers(0, 48)].astype(np.int64) for a in at]
        all_.append(write(m, prompts, [0.0, 0.5, 0.7, 1.0] * 16, 512, gen).astype(np.uint16).ravel())
        print(i + 1, "of", rounds, flush=True)
    np.save(sys.argv[4], np.concatenate(all_ + [np.array([tok.id["<|endoftext|>"]], np.uint16)]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
