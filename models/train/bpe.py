"""Byte-level BPE with GPT-2's pre-tokenizer.

usage: bpe.py train OUT.json VOCAB TEXT...      learn merges
       bpe.py encode TOK.json TEXT OUT.npy      uint16 ids, <|endoftext|> after each document
"""
import collections, heapq, json, sys
import numpy as np, regex

PAT = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
MARK = regex.compile("(" + "|".join(regex.escape(s) for s in SPECIAL) + ")")


def byte_table():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


B2U = byte_table()


def learn(text, size):
    words = collections.Counter()
    for part in MARK.split(text):
        if part not in SPECIAL:
            for w in PAT.findall(part):
                words["".join(B2U[b] for b in w.encode())] += 1
    vocab, merges = [B2U[b] for b in range(256)], []
    ws = [[list(w), c] for w, c in words.items()]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (w, c) in enumerate(ws):
        for p in zip(w, w[1:]):
            pairs[p] += c
            where[p].add(i)
    heap = [(-c, p) for p, c in pairs.items()]
    heapq.heapify(heap)
    while len(vocab) < size - len(SPECIAL) and heap:
        c, p = heapq.heappop(heap)
        if pairs.get(p, 0) != -c:
            if pairs.get(p, 0) > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        if -c < 2:
            break
        merges.append(p)
        vocab.append(p[0] + p[1])
        changed = set()
        for i in list(where[p]):
            w, n = ws[i]
            for q in zip(w, w[1:]):
                pairs[q] -= n
                changed.add(q)
            ws[i][0] = w = merge(w, p)
            for q in zip(w, w[1:]):
                pairs[q] += n
                where[q].add(i)
                changed.add(q)
        pairs.pop(p, None)
        where.pop(p, None)
        for q in changed:
            if pairs.get(q, 0) > 0:
                heapq.heappush(heap, (-pairs[q], q))
    return vocab + SPECIAL, merges


def merge(w, p):
    out, j = [], 0
    while j < len(w):
        if j + 1 < len(w) and (w[j], w[j + 1]) == p:
            out.append(w[j] + w[j + 1])
            j += 2
        else:
            out.append(w[j])
            j += 1
    return out


class Tokenizer:
    def __init__(self, path):
        d = json.load(open(path))
        self.vocab = d["vocab"]
        self.id = {t: i for i, t in enumerate(d["vocab"])}
        self.rank = {tuple(m): i for i, m in enumerate(d["merges"])}
        self.cache = {}

    def word(self, w):
        if w not in self.cache:
            t = [B2U[b] for b in w.encode()]
            while len(t) > 1:
                k = min(range(len(t) - 1), key=lambda i: self.rank.get((t[i], t[i + 1]), 1 << 30))
                if (t[k], t[k + 1]) not in self.rank:
                    break
                t[k : k + 2] = [t[k] + t[k + 1]]
            self.cache[w] = [self.id[x] for x in t]
        return self.cache[w]

    def encode(self, text):
        ids = []
        for part in MARK.split(text):
            if part in SPECIAL:
                ids.append(self.id[part])
            else:
                for w in PAT.findall(part):
                    ids += self.word(w)
        return ids


if __name__ == "__main__":
    if sys.argv[1] == "train":
        vocab, merges = learn("".join(open(f).read() for f in sys.argv[4:]), int(sys.argv[3]))
        json.dump({"vocab": vocab, "merges": merges}, open(sys.argv[2], "w"))
        print(len(vocab), "tokens", len(merges), "merges")
    else:
        t = Tokenizer(sys.argv[2])
        ids = t.encode(open(sys.argv[3]).read() + "<|endoftext|>")
        np.save(sys.argv[4], np.array(ids, dtype=np.uint16))
        print(sys.argv[4], len(ids), "tokens")
