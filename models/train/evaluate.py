"""Measures a pair: held-out loss and how often the draft chooses what the target chooses.

usage: evaluate.py TARGET.pt DRAFT.pt TOK.json VALID.npy

The target writes 100 tokens after the first 32 tokens of each held-out document (for a chat these
hold the user's turn) at temperature 0, 0.7 and 1; the draft is read on the same text. At
temperature 0 "agree" counts equal argmax; above it, equal choices under shared Gumbel noise (the
project's coupled sampling), beside the sum of min(p,q), which rejection sampling would accept.
"""
import sys
import numpy as np, torch
from bpe import Tokenizer
from sample import write
from train import evaluate, load

KEEP, NEW = 33, 100


@torch.no_grad()
def agreement(target, draft, prompts, heat, gen):
    rows = torch.from_numpy(write(target, prompts, [heat] * len(prompts), KEEP + NEW, gen))
    agree = overlap = n = 0
    for part in rows.split(16):
        p, q = (m(part)[:, KEEP - 1 : -1].double() for m in (target, draft))
        if heat == 0:
            agree += (p.argmax(-1) == q.argmax(-1)).sum().item()
            overlap = None
        else:
            noise = -torch.log(-torch.log(torch.rand(p.shape, generator=gen, dtype=torch.float64)))
            agree += ((p / heat + noise).argmax(-1) == (q / heat + noise).argmax(-1)).sum().item()
            overlap += torch.minimum((p / heat).softmax(-1), (q / heat).softmax(-1)).sum().item()
        n += part.shape[0] * NEW
    return agree / n, overlap and overlap / n, n


def main():
    torch.set_num_threads(1)
    target, draft, tok, val = load(sys.argv[1]), load(sys.argv[2]), Tokenizer(sys.argv[3]), np.load(sys.argv[4])
    for name, m in (("target", target), ("draft", draft)):
        print(name, f"{sum(p.numel() for p in m.parameters())/1e6:.2f} M parameters, held-out loss", end="")
        for ctx in (256, 512):
            print(f" {evaluate(m, None, val, ctx)[0]:.3f} (windows of {ctx})", end="")
        m.eval()
        print()
    starts = np.flatnonzero(val == tok.id["<|endoftext|>"])
    prompts = [val[a : a + KEEP].astype(np.int64) for a in starts if a + KEEP <= len(val)]
    gen = torch.Generator().manual_seed(11)
    for heat in (0.0, 0.7, 1.0):
        agree, overlap, n = agreement(target, draft, prompts, heat, gen)
        more = "" if overlap is None else f", sum of min(p,q) {100*overlap:.1f} %"
        print(f"temperature {heat}: agree {100*agree:.1f} %{more} ({n} tokens)")


if __name__ == "__main__":
    main()
