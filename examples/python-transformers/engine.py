"""A causal language model of Hugging Face transformers as an engine: sequences with KV rows, choices by Choose v1."""

import threading

import numpy as np
import torch
import transformers

from sampling import choose


class Refused(Exception):
    """A segment that cannot be run: code is a SegmentError, text one line for people."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Sequence:
    def __init__(self):
        self.log = []  # tokens whose rows are held
        self.past = None
        self.setup = None
        self.version = 0  # raised by each segment that is run


def crop(past, n):
    """Keeps the first n rows. Older releases hold them in tuples, newer ones in a cache that crops itself."""
    if n == 0 or past is None:
        return None
    if hasattr(past, "crop"):
        past.crop(n)
        return past
    return tuple(tuple(x[:, :, :n] for x in layer) for layer in past)


class Engine:
    """One model. Calls are taken one at a time: PyTorch uses all cores for each."""

    def __init__(self, pb, path, options):
        self.pb, self.lock, self.sequences = pb, threading.Lock(), {}
        take = lambda name, default: int(options.pop(name, default))
        torch.set_num_threads(take("threads", 1))
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float32)
        self.model.to(options.pop("device", "cpu")).eval()
        c = self.model.config
        self.context = take("context", c.max_position_embeddings)
        self.places, self.kv_tokens = take("sequences", 64), take("kv_tokens", 1 << 16)
        end = c.eos_token_id
        self.info = pb.ModelInfo(
            name=options.pop("name", path.rstrip("/").rsplit("/", 1)[-1]), engine="transformers", architecture=c.model_type,
            context_length=self.context, vocabulary_size=c.vocab_size, vocabulary=options.pop("vocabulary", "transformers/" + path),
            end_tokens=end if isinstance(end, list) else [] if end is None else [end],
            numerics=f"transformers/{transformers.__version__}/torch-{torch.__version__}/f32/{self.model.device.type}",
            sequences=self.places, kv_tokens=self.kv_tokens, parameters=self.model.num_parameters(),
            shape_dependent=True)  # a row's last bits depend on how many rows run with it
        if options:
            raise ValueError("unknown options: " + ", ".join(sorted(options)))

    def rows(self):
        return sum(len(s.log) for s in self.sequences.values())

    def check(self, seg):
        pb, n = self.pb, len(seg.tokens)
        if n == 0 or seg.parents or getattr(seg, "from") > n or (seg.start == 0 and not seg.HasField("setup")):
            raise Refused(pb.SEGMENT_ERROR_INVALID, "no tokens, no setup, a tree, or out of range")
        if any(t >= self.info.vocabulary_size for t in seg.tokens):
            raise Refused(pb.SEGMENT_ERROR_INVALID, f"a token is beyond the vocabulary of {self.info.vocabulary_size}")
        held = self.sequences.get(seg.sequence)
        if seg.start > (len(held.log) if held else 0):
            raise Refused(pb.SEGMENT_ERROR_SEQUENCE_LOST, f"{len(held.log) if held else 0} rows are held")
        if seg.start + n > self.context:
            raise Refused(pb.SEGMENT_ERROR_CONTEXT_FULL, f"{self.context} tokens are all")
        if held is None and len(self.sequences) >= self.places:
            raise Refused(pb.SEGMENT_ERROR_NO_MEMORY, f"{self.places} sequences are all")
        dropped = len(held.log) - seg.start if held else 0
        if self.rows() - dropped + n > self.kv_tokens:
            raise Refused(pb.SEGMENT_ERROR_NO_MEMORY, f"{self.rows()} of {self.kv_tokens} rows are held")

    @torch.inference_mode()
    def run(self, seg):
        """Choices after tokens[from:], each with the log probabilities asked for."""
        self.check(seg)
        s = self.sequences.setdefault(seg.sequence, Sequence())
        s.past = crop(s.past, seg.start)
        del s.log[seg.start :]
        if seg.HasField("setup"):
            s.setup = seg.setup
        ids = torch.tensor([list(seg.tokens)], device=self.model.device)
        out = self.model(input_ids=ids, past_key_values=s.past, use_cache=True)
        s.past, s.version = out.past_key_values, s.version + 1
        s.log.extend(seg.tokens)
        choices, logprobs = [], []
        for i in range(getattr(seg, "from"), len(seg.tokens)):
            logits = out.logits[0, i].cpu().numpy()
            if not np.isfinite(logits).all():
                raise Refused(self.pb.SEGMENT_ERROR_NOT_FINITE, "the model computed NaN or infinity")
            token, sure, second = choose(logits, s.setup.sampling, s.setup.prompt_length, s.log[: seg.start + i + 1])
            choices.append(self.pb.Choice(token=token, confidence=sure, second=second + 1))
            if seg.logprobs:
                logprobs.append(self.logprobs(logits.astype(np.float64), token, seg.logprobs - 1))
        return choices, logprobs

    def logprobs(self, logits, token, top):
        x = logits - logits.max()
        x -= np.log(np.exp(x).sum())
        best = np.argsort(-x, kind="stable")[:top]
        return self.pb.Logprobs(chosen=x[token], tokens=[int(t) for t in best], values=[float(x[t]) for t in best])
