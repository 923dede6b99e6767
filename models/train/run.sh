#!/bin/sh
# The whole recipe on CPU cores. usage: run.sh STORIES_DIR [PROCESSES]
# STORIES_DIR holds tinystories_head.txt and tinystories_other.txt; results lie in ./work.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
stories=$(cd "$1" && pwd)
export WORLD_SIZE="${2:-2}" MASTER_ADDR=127.0.0.1 MASTER_PORT=29511
mkdir -p work
cd work

# One process a core; they average their gradients.
train() {
    rank=1
    while [ "$rank" -lt "$WORLD_SIZE" ]; do
        RANK=$rank python3 "$here/train.py" "$@" >/dev/null &
        rank=$((rank + 1))
    done
    RANK=0 python3 "$here/train.py" "$@"
    wait
}

python3 "$here/corpus.py" . "$stories/tinystories_head.txt" "$stories/tinystories_other.txt"
python3 "$here/bpe.py" train tok.json 2048 base_train.txt
for f in base_train base_valid train valid valid_plain; do
    python3 "$here/bpe.py" encode tok.json $f.txt $f.npy
done
target="--dim 160 --layers 5 --heads 5 --ffn 448"
draft="--dim 96 --layers 2 --heads 3 --ffn 256"

# Stage 1: plain stories, windows of 256.
train base_target base_train.npy base_valid.npy $target --ctx 256 --batch 2 --drop 0.05 --lr 2e-3 --minutes 55
train base_draft base_train.npy base_valid.npy $draft --ctx 256 --batch 2 --lr 3e-3 --minutes 16 --teacher base_target.pt

# Stage 2: chats, swapped names, windows of 512.
train target train.npy valid.npy $target --init base_target.pt --batch 1 --drop 0.1 --lr 1.2e-3 --minutes 26
python3 "$here/sample.py" target.pt tok.json train.npy written.npy 9
train draft train.npy valid.npy $draft --init base_draft.pt --batch 2 --lr 2e-3 --minutes 16 --teacher target.pt --written written.npy

python3 "$here/evaluate.py" target.pt draft.pt tok.json valid.npy
python3 "$here/export.py" target.pt tok.json outrider-demo-target.gguf outrider-demo-target
python3 "$here/export.py" draft.pt tok.json outrider-demo-draft.gguf outrider-demo-draft
