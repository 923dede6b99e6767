"""Writes a trained model as GGUF v3 (llama architecture): matrices Q8_0 (or F32), norms F32.

usage: export.py MODEL.pt TOK.json OUT.gguf NAME [q8_0|f32] [CONTEXT]
"""
import json, struct, sys
import numpy as np, torch

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>{% else %}<|user|>{% endif %}"
    "{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LAYER = {"n1.w": "attn_norm", "q.weight": "attn_q", "k.weight": "attn_k", "v.weight": "attn_v", "o.weight": "attn_output",
         "n2.w": "ffn_norm", "g.weight": "ffn_gate", "u.weight": "ffn_up", "d.weight": "ffn_down"}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF value types
NORMAL, CONTROL = 1, 3  # token types
ALIGN = 32


def string(x):
    b = x.encode()
    return struct.pack("<Q", len(b)) + b


def pair(key, kind, value):
    return string(key) + struct.pack("<I", kind) + value


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def metadata(cfg, tok, name, kind, ctx):
    u = lambda k, v: pair(k, U32, struct.pack("<I", v))
    f = lambda k, v: pair(k, F32, struct.pack("<f", v))
    s = lambda k, v: pair(k, STRING, string(v))
    v = tok["vocab"]
    text, end, hd = v.index("<|endoftext|>"), v.index("<|end|>"), cfg["dim"] // cfg["heads"]
    return [
        s("general.architecture", "llama"), s("general.name", name), s("general.basename", "outrider-demo"),
        s("general.license", "apache-2.0"),
        s("general.description", "Demo model of Outrider: tells very simple stories. Trained on TinyStories (CDLA-Sharing-1.0)."),
        u("general.file_type", {"f32": 0, "q8_0": 7}[kind]), u("general.quantization_version", 2),
        u("llama.context_length", ctx), u("llama.embedding_length", cfg["dim"]), u("llama.block_count", cfg["layers"]),
        u("llama.feed_forward_length", cfg["ffn"]), u("llama.attention.head_count", cfg["heads"]),
        u("llama.attention.head_count_kv", cfg["heads"]), u("llama.rope.dimension_count", hd),
        u("llama.vocab_size", cfg["vocab"]), f("llama.attention.layer_norm_rms_epsilon", 1e-5),
        f("llama.rope.freq_base", 10000.0),
        s("tokenizer.ggml.model", "gpt2"), s("tokenizer.ggml.pre", "gpt-2"),
        pair("tokenizer.ggml.tokens", ARRAY, array(STRING, [string(t) for t in v])),
        pair("tokenizer.ggml.token_type", ARRAY,
             array(I32, [struct.pack("<i", CONTROL if t.startswith("<|") else NORMAL) for t in v])),
        pair("tokenizer.ggml.merges", ARRAY, array(STRING, [string(" ".join(m)) for m in tok["merges"]])),
        u("tokenizer.ggml.bos_token_id", text), u("tokenizer.ggml.eos_token_id", text), u("tokenizer.ggml.eot_token_id", end),
        pair("tokenizer.ggml.add_bos_token", BOOL, b"\1"), pair("tokenizer.ggml.add_eos_token", BOOL, b"\0"),
        s("tokenizer.chat_template", TEMPLATE),
    ]


def tensors(sd, cfg):
    yield "token_embd.weight", sd["e.weight"]  # also the output matrix (tied)
    yield "output_norm.weight", sd["n.w"]
    for l in range(cfg["layers"]):
        for k, g in LAYER.items():
            yield f"blk.{l}.{g}.weight", sd[f"b.{l}.{k}"]


def q8_0(a):
    """Blocks of 32: a float16 scale and 32 signed bytes."""
    b = a.reshape(-1, 32).astype(np.float32)
    d = np.abs(b).max(1) / 127
    q = np.round(b / np.where(d > 0, d, 1)[:, None]).astype(np.int8)
    out = np.zeros((len(b), 34), np.uint8)
    out[:, :2] = d.astype(np.float16).view(np.uint8).reshape(-1, 2)
    out[:, 2:] = q.view(np.uint8)
    return out.tobytes()


def main():
    model, tokens, out, name = sys.argv[1:5]
    kind = sys.argv[5] if len(sys.argv) > 5 else "q8_0"
    ctx = int(sys.argv[6]) if len(sys.argv) > 6 else 512
    ck, tok = torch.load(model, map_location="cpu"), json.load(open(tokens))
    meta = metadata(ck["cfg"], tok, name, kind, ctx)
    infos, data, at, count = b"", [], 0, 0
    for n, t in tensors(ck["sd"], ck["cfg"]):
        a = t.detach().numpy()
        plain = a.ndim == 1 or kind == "f32"
        b = a.astype("<f4").tobytes() if plain else q8_0(a)
        dims = a.shape[::-1]
        infos += string(n) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        infos += struct.pack("<IQ", 0 if plain else 8, at)
        b += b"\0" * (-len(b) % ALIGN)
        at, count = at + len(b), count + 1
        data.append(b)
    head = b"GGUF" + struct.pack("<IQQ", 3, count, len(meta)) + b"".join(meta) + infos
    head += b"\0" * (-len(head) % ALIGN)
    open(out, "wb").write(head + b"".join(data))
    print(out, len(head) + at, "bytes")


main()
