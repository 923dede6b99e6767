"""The published vectors: python3 -m unittest."""

import json
import types
import unittest
from pathlib import Path

import numpy as np

from sampling import choose, hashes, noise

VECTORS = Path(__file__).resolve().parents[2] / "speculative" / "testdata"


class Vectors(unittest.TestCase):
    def test_noise(self):
        vectors = json.loads((VECTORS / "noise_v1.json").read_text())["vectors"]
        self.assertGreater(len(vectors), 50)
        for v in vectors:
            at = int(v["seed"]), v["choice"], v["position"], [v["token"]]
            self.assertEqual(int(hashes(*at)[0]), int(v["hash"], 16), v)
            self.assertEqual(int(noise(*at)[0] * 2**20), v["noise_x_2^20"], v)

    def test_choose(self):
        vectors = json.loads((VECTORS / "choose_v1.json").read_text())["vectors"]
        self.assertGreater(len(vectors), 99)
        for v in vectors:
            p = {"temperature": 0, "top_k": 0, "top_p": 0, "min_p": 0, "repetition_penalty": 0, "presence_penalty": 0, "frequency_penalty": 0,
                 "choice": 0, **v, "seed": int(v["seed"]), "logit_bias": {int(k): b for k, b in v.get("logit_bias", {}).items()}}
            logits = np.array([float(x) for x in v["logits"]], dtype=np.float32)
            token, confidence, second = choose(logits, types.SimpleNamespace(**p), v["prompt_length"], v["log"])
            self.assertEqual((token, second), (v["token"], v["second"]), v)
            self.assertAlmostEqual(confidence, v["confidence"], places=5, msg=str(v))


if __name__ == "__main__":
    unittest.main()
