"""Trains a Llama-architecture language model; with --teacher by distillation (KL).

usage: train.py NAME TRAIN.npy VALID.npy --dim 192 --layers 4 --heads 6 --ffn 512 --minutes 40 [--teacher target.pt]

Several processes share the work by the environment RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT
(run.sh sets them): on a few CPU cores one process a core is faster than one with many threads.

Writes NAME.pt and NAME.csv (minutes, tokens seen, training and held-out loss in nats a token,
agreement of the greedy token with the teacher's).
"""
import argparse, math, os, time
import numpy as np, torch, torch.distributed as dist, torch.nn as nn, torch.nn.functional as F


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
        c, s = (t.to(x.device) for t in rope(x.shape[1], self.cfg["dim"] // self.cfg["heads"]))
        h = self.e(x)
        for b in self.b:
            h = b(h, c, s)
        return self.n(h) @ self.e.weight.T


def load(path):
    ck = torch.load(path, map_location="cpu")
    m = LM(ck["cfg"])
    m.load_state_dict(ck["sd"])
    return m.eval()


def ranks():
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def share(m, elapsed):
    """Averages the gradients over the processes; returns the elapsed time they agree on."""
    if ranks()[1] == 1:
        return elapsed
    gs = [p.grad for p in m.parameters()]
    flat = torch.cat([g.flatten() for g in gs] + [torch.tensor([elapsed])])
    dist.all_reduce(flat)
    flat /= ranks()[1]
    for g, f in zip(gs, flat[:-1].split([g.numel() for g in gs])):
        g.copy_(f.view_as(g))
    return flat[-1].item()


def optimizer(m, lr):
    return torch.optim.AdamW(
        [{"params": [p for p in m.parameters() if p.dim() > 1], "weight_decay": 0.1},
         {"params": [p for p in m.parameters() if p.dim() < 2], "weight_decay": 0.0}],
        lr=lr, betas=(0.9, 0.95), fused=True)


def batch(data, starts, rng, n, ctx):
    """n windows; about half of them begin with the <|endoftext|> before a document, as prompts do."""
    at = np.where(rng.random(n) < 0.5, rng.choice(starts, n), rng.integers(0, len(data) - ctx - 1, n))
    x = torch.from_numpy(np.stack([data[i : i + ctx + 1] for i in at]).astype(np.int64))
    return x[:, :-1], x[:, 1:]


@torch.no_grad()
def evaluate(m, teacher, data, ctx):
    """Loss and agreement over the whole held-out text, in windows side by side."""
    m.eval()
    dev, loss, agree, n = m.e.weight.device, 0.0, 0.0, (len(data) - 1) // ctx
    for i in range(n):
        w = torch.from_numpy(data[i * ctx : (i + 1) * ctx + 1].astype(np.int64))[None]
        x, y = w[:, :-1].to(dev), w[:, 1:].to(dev)
        lg = m(x)
        loss += F.cross_entropy(lg.flatten(0, 1), y.flatten()).item()
        if teacher:
            agree += (lg.argmax(-1) == teacher(x).argmax(-1)).float().mean().item()
    m.train()
    return loss / n, agree / n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("name"), ap.add_argument("train"), ap.add_argument("valid")
    for k, d in dict(dim=192, layers=4, heads=6, ffn=512, vocab=2048, ctx=512, batch=2, threads=1).items():
        ap.add_argument("--" + k, type=int, default=d)
    ap.add_argument("--minutes", type=float, default=45)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--drop", type=float, default=0.0)
    ap.add_argument("--init", help="a model of the same shape to go on from")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--teacher")
    ap.add_argument("--written", help="tokens written by the teacher: every second batch is from there")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    rank, world = ranks()
    if world > 1:
        dist.init_process_group("gloo")
    cfg = {k: getattr(a, k) for k in ("vocab", "dim", "layers", "heads", "ffn")}
    m, teacher = LM(cfg, a.drop).to(a.device), load(a.teacher).to(a.device) if a.teacher else None
    if a.init:
        m.load_state_dict(torch.load(a.init, map_location="cpu")["sd"])
    data, val = np.load(a.train), np.load(a.valid)
    print(a.name, f"{sum(p.numel() for p in m.parameters())/1e6:.2f} M parameters, {len(data)/1e6:.2f} M tokens", flush=True)
    eot = int(val[-1])
    pools = [(d, np.flatnonzero(d[: -a.ctx - 1] == eot)) for d in [data] + ([np.load(a.written)] if a.written else [])]
    opt = optimizer(m, a.lr)
    torch.manual_seed(1 + rank)  # dropout
    rng, start, step, smooth, last, el = np.random.default_rng(3 + rank), time.time(), 0, 0.0, 0.0, 0.0
    if rank == 0:
        log = open(a.name + ".csv", "w")
        log.write("minutes,tokens,train_loss,heldout_loss,agreement\n")

    def report(minutes):
        v, g = evaluate(m, teacher, val, a.ctx)
        line = f"{minutes:.1f},{step*a.batch*a.ctx*world},{smooth:.4f},{v:.4f},{g:.4f}"
        log.write(line + "\n"), log.flush()
        print(a.name, line, flush=True)
        torch.save({"sd": m.state_dict(), "cfg": cfg}, a.name + ".pt")

    while True:
        f = el / (a.minutes * 60)
        if f > 1:
            break
        cos = 1 if f < 0.3 else 0.5 * (1 + math.cos(math.pi * (f - 0.3) / 0.7)) * 0.98 + 0.02
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 60) * cos
        x, y = batch(*pools[step % len(pools)], rng, a.batch, a.ctx)
        x, y = x.to(a.device), y.to(a.device)
        lg = m(x).flatten(0, 1)
        if teacher is None:
            loss = F.cross_entropy(lg, y.flatten())
        else:
            with torch.no_grad():
                t = teacher(x).flatten(0, 1).log_softmax(-1)
            loss = F.kl_div(lg.log_softmax(-1), t, log_target=True, reduction="batchmean")
        m.zero_grad()
        loss.backward()
        el = share(m, time.time() - start)
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        step += 1
        smooth = 0.95 * smooth + 0.05 * loss.item() if step > 1 else loss.item()
        if el - last > 120:
            last = el
            if rank == 0:
                report(el / 60)
    if rank == 0:
        report(a.minutes)


if __name__ == "__main__":
    main()
