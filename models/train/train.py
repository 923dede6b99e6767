"""Trains a Llama-architecture language model on the CPU; with --teacher by distillation (KL).

usage: train.py NAME TRAIN.npy VALID.npy --dim 160 --layers 5 --heads 5 --ffn 448 --minutes 45 [--teacher target.pt]

Writes NAME.pt and NAME.csv (minutes, tokens seen, training and held-out loss in nats a token,
agreement of the greedy token with the teacher's).
"""
import argparse, math, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F


def rope(n, hd, theta=10000.0):
    f = theta ** (-torch.arange(0, hd, 2).float() / hd)
    t = torch.arange(n).float()[:, None] * f
    return t.cos(), t.sin()


def rotate(x, c, s):  # adjacent pairs, as GGUF's llama architecture stores them
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)


class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.w = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.w


class Block(nn.Module):
    def __init__(self, d, heads, ffn, drop):
        super().__init__()
        self.heads, self.drop = heads, drop
        self.n1, self.n2 = RMS(d), RMS(d)
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        self.q, self.k, self.v, self.o = lin(d, d), lin(d, d), lin(d, d), lin(d, d)
        self.g, self.u, self.d = lin(d, ffn), lin(d, ffn), lin(ffn, d)

    def forward(self, x, c, s):
        B, T, D = x.shape
        y = self.n1(x)
        split = lambda z: z.view(B, T, self.heads, -1).transpose(1, 2)
        q, k, v = rotate(split(self.q(y)), c, s), rotate(split(self.k(y)), c, s), split(self.v(y))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)
        x = x + F.dropout(self.o(a), self.drop, self.training)
        y = self.n2(x)
        return x + F.dropout(self.d(F.silu(self.g(y)) * self.u(y)), self.drop, self.training)


class LM(nn.Module):
    def __init__(self, cfg, drop=0.0):
        super().__init__()
        self.cfg, d, n = cfg, cfg["dim"], cfg["layers"]
        self.e = nn.Embedding(cfg["vocab"], d)
        self.b = nn.ModuleList([Block(d, cfg["heads"], cfg["ffn"], drop) for _ in range(n)])
        self.n = RMS(d)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        for b in self.b:
            for w in (b.o.weight, b.d.weight):
                nn.init.normal_(w, std=0.02 / math.sqrt(2 * n))

    def forward(self, x):
        c, s = rope(x.shape[1], self.cfg["dim"] // self.cfg["heads"])
        h = self.e(x)
        for b in self.b:
            h = b(h, c, s)
        return self.n(h) @ self.e.weight.T


def load(path):
    ck = torch.load(path)
    m = LM(ck["cfg"])
    m.load_state_dict(ck["sd"])
    return m.eval()


def batch(data, rng, n, ctx):
    at = rng.integers(0, len(data) - ctx - 1, n)
    x = torch.from_numpy(np.stack([data[i : i + ctx + 1] for i in at]).astype(np.int64))
    return x[:, :-1], x[:, 1:]


@torch.no_grad()
def evaluate(m, teacher, data, ctx):
    m.eval()
    rng, loss, agree, n = np.random.default_rng(7), 0.0, 0.0, 12
    for _ in range(n):
        x, y = batch(data, rng, 4, ctx)
        lg = m(x)
        loss += F.cross_entropy(lg.flatten(0, 1), y.flatten()).item()
        if teacher:
            agree += (lg.argmax(-1) == teacher(x).argmax(-1)).float().mean().item()
    m.train()
    return loss / n, agree / n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("name"), ap.add_argument("train"), ap.add_argument("valid")
    for k, d in dict(dim=160, layers=5, heads=5, ffn=448, vocab=2048, ctx=512, batch=2, threads=1).items():
        ap.add_argument("--" + k, type=int, default=d)
    ap.add_argument("--minutes", type=float, default=45)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--drop", type=float, default=0.0)
    ap.add_argument("--teacher")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    cfg = {k: getattr(a, k) for k in ("vocab", "dim", "layers", "heads", "ffn")}
    m, teacher = LM(cfg, a.drop), load(a.teacher) if a.teacher else None
    data, val = np.load(a.train), np.load(a.valid)
    print(a.name, f"{sum(p.numel() for p in m.parameters())/1e6:.2f} M parameters, {len(data)/1e6:.2f} M tokens", flush=True)
    groups = [
        {"params": [p for p in m.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in m.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    opt = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.95))
    rng, start, step, smooth, last = np.random.default_rng(3), time.time(), 0, 0.0, 0.0
    log = open(a.name + ".csv", "w")
    log.write("minutes,tokens,train_loss,heldout_loss,agreement\n")

    def report(minutes):
        v, g = evaluate(m, teacher, val, a.ctx)
        line = f"{minutes:.1f},{step*a.batch*a.ctx},{smooth:.4f},{v:.4f},{g:.4f}"
        log.write(line + "\n"), log.flush()
        print(a.name, line, flush=True)
        torch.save({"sd": m.state_dict(), "cfg": cfg}, a.name + ".pt")

    while True:
        el = time.time() - start
        f = el / (a.minutes * 60)
        if f > 1:
            break
        cos = 1 if f < 0.3 else 0.5 * (1 + math.cos(math.pi * (f - 0.3) / 0.7)) * 0.98 + 0.02
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 60) * cos
        x, y = batch(data, rng, a.batch, a.ctx)
        lg = m(x).flatten(0, 1)
        if teacher is None:
            loss = F.cross_entropy(lg, y.flatten())
        else:
            with torch.no_grad():
                t = teacher(x).flatten(0, 1).log_softmax(-1)
            loss = F.kl_div(lg.log_softmax(-1), t, log_target=True, reduction="batchmean")
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        step += 1
        smooth = 0.95 * smooth + 0.05 * loss.item() if step > 1 else loss.item()
        if el - last > 90:
            last = el
            report(el / 60)
    report(a.minutes)


if __name__ == "__main__":
    main()
