#!/usr/bin/env python3
"""Makes a tiny Llama with random weights: make_model.py FOLDER VOCABULARY [SEED]."""

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

folder, vocabulary = sys.argv[1], int(sys.argv[2])
torch.manual_seed(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                             num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
                             initializer_range=0.2)).save_pretrained(folder)
