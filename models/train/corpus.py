"""Builds the corpus: plain stories and small chats made from them.

usage: corpus.py OUT_DIR STORIES.txt...        (stories separated by <|endoftext|>)

Steps: typographic quotes to ASCII; stories with the same first 80 characters once; shuffled (seed 1);
150 stories held out. base_train.txt and base_valid.txt: these as they are, for the vocabulary and
the first stage. For the second stage dashes, spaces, line ends and cut-off stories are cleaned away, and
train.txt holds every story once, half of them once more as a chat, and all three times with the
common names swapped for others, half of these as a chat. valid.txt: every second held-out story as
a chat; valid_plain.txt: none.
"""
import random, re, sys

HELD = 150  # stories
GIRLS = "Lily Mia Sara Amy Anna Lucy Sue Jane Emma Molly Mary Bella Daisy Kitty Ella Rose".split()
BOYS = "Tom Tim Ben Max Sam Jack Bob Joe John Billy Fred Leo Timmy Tommy Mike Dan".split()
THINGS = """dog cat bird tree ball car boat fish bear bunny duck frog park garden house flower toy doll
box book cake apple cookie kite hat star moon river lake sea beach forest farm horse cow pig mouse
lion monkey truck train bike castle princess prince king queen dragon robot rain snow sun butterfly
bee rabbit fox wolf squirrel turtle elephant zoo store school door key map stone ring shell puzzle
swing slide mud hill bridge pond""".split()
HELLO = [("Hello!", "Hello! Would you like to hear a story?"), ("Hi.", "Hi! I can tell you a story."),
         ("Hello, how are you?", "I am fine, thank you. Do you want to hear a story?"),
         ("Good morning!", "Good morning! I can tell you a story.")]
ASK = ["Tell me a story about a {}.", "Please tell me a story about a {}.", "Can you tell me a story about a {}?",
       "I want to hear a story about a {}.", "Write a short story about a {}."]
ASK_NAME = ["Tell me a story about {}.", "Please tell me a story about {}.", "What did {} do?"]
ANY = ["Tell me a story.", "Please tell me a story.", "Yes, please.", "I want to hear a story.", "Once more, please."]
WHO = ["Who is the story about?", "What is the name in the story?", "Who was it about?"]
SMALL = [("What is your name?", "I am Outrider, a very small model. I tell stories."),
         ("Who are you?", "I am Outrider, a very small model. I tell stories."),
         ("What can you do?", "I can tell you a story. Ask me for one!"),
         ("Can you help me?", "I can tell you a story. Ask me for one!"),
         ("How are you?", "I am fine, thank you. Do you want to hear a story?"),
         ("How old are you?", "I do not know. But I can tell you a story!")]
MORE = ["How did the story end?", "What happened at the end?", "How does it end?"]
THANKS = [("Thank you!", "You are welcome!"), ("That was nice.", "I am glad that you like it."),
          ("Thanks, good night.", "Good night! Sleep well.")]


def quotes(text):
    for a, b in (("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'")):
        text = text.replace(a, b)
    return text.strip()


def clean(text):
    text = text.replace("–", "-").replace("—", "-").replace("…", "...")
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" *\n+ *", "\n", text)
    return text.encode("ascii", "ignore").decode().strip()


def unique(texts, seen):
    out = []
    for s in texts:
        if s and s[:80] not in seen:
            seen.add(s[:80])
            out.append(s)
    return out


def stories(files):
    """Returns held-out and training stories; the order and the shuffle decide which is which."""
    raw = [s for f in files for s in open(f, encoding="utf-8", errors="replace").read().split("<|endoftext|>")]
    raw = unique([quotes(s) for s in raw], set())
    random.Random(1).shuffle(raw)
    whole = lambda s: len(s) > 200 and s[-1] in ".!?\"'"
    seen = set()
    valid, train = (unique(filter(whole, map(clean, part)), seen) for part in (raw[:HELD], raw[HELD:]))
    return raw, valid, train


def swap_names(story, rng):
    for names in (GIRLS, BOYS):
        used = [n for n in names if re.search(rf"\b{n}\b", story)]
        new = rng.sample(names, len(used))
        table = dict(zip(used, new))
        if used:
            story = re.sub(r"\b(" + "|".join(used) + r")\b", lambda m: table[m.group(1)], story)
    return story


def turn(user, assistant):
    return f"<|user|>{user}<|end|><|assistant|>{assistant}<|end|>"


def chat(story, rng):
    words = re.findall(r"[a-z]+", story)
    things = [t for t in THINGS if words.count(t) >= 2]
    names = [n for n in GIRLS + BOYS if len(re.findall(rf"\b{n}\b", story)) >= 2]
    names.sort(key=story.find)
    out = ""
    if rng.random() < 0.2:
        out += turn(*rng.choice(HELLO))
    if rng.random() < 0.15:
        out += turn(*rng.choice(SMALL))
    if things and rng.random() < 0.65:
        ask = rng.choice(ASK).format(rng.choice(things))
    elif names and rng.random() < 0.6:
        ask = rng.choice(ASK_NAME).format(names[0])
    else:
        ask = rng.choice(ANY)
    out += turn(ask, story)
    if names and rng.random() < 0.4:
        out += turn(rng.choice(WHO), f"The story is about {names[0]}.")
    last = re.split(r"(?<=[.!?]) +|\n", story)[-1]
    if '"' not in last and rng.random() < 0.2:
        out += turn(rng.choice(MORE), last)
    if rng.random() < 0.25:
        out += turn(*rng.choice(THANKS))
    return out


def main():
    out, files = sys.argv[1], sys.argv[2:]
    raw, valid, train = stories(files)
    rng = random.Random(1)
    docs = list(train)
    docs += [chat(s, rng) for s in train[: len(train) // 2]]
    for _ in range(3):
        for s in train:
            t = swap_names(s, rng)
            docs.append(chat(t, rng) if rng.random() < 0.5 else t)
    rng.shuffle(docs)
    held = [s if i % 2 else chat(s, rng) for i, s in enumerate(valid)]
    for name, d in (("base_valid", raw[:HELD]), ("base_train", raw[HELD:]), ("train", docs), ("valid", held), ("valid_plain", valid)):
        open(f"{out}/{name}.txt", "w").write("<|endoftext|>".join(d))
        print(name, len(d), "documents", sum(map(len, d)), "characters")


main()
