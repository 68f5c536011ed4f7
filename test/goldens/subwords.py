"""Subword vocabularies trained by Hugging Face's tokenizers, and what they make of texts: subwords.json."""

import json
import re
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

TEXTS = [
    "The old car was slower than the older cars, and the oldest car was the slowest.",
    "She sells sea shells; the shells she sells are sea shells, I'm sure!",
    "Newest, widest, lowest: the newer, wider, lower ones weren't new, wide or low.",
    "It isn't 1999 or 2001; it's 2026, and 26 of the 2,026 tests don't pass...",
    "Aaaaargh!!! aaaa aaaaa, he said, ha ha hahaha ------ and then: -- ---",
    "Über die Brücke, café au lait, naïve façades: coöperate, mañana.",
    "Съешь ещё этих мягких французских булок, да выпей чаю. Ещё чаю!",
    "机器学习 and 机器翻译 are 学习.\tTabs\tand  two  spaces\n\nand lines\n",
    "emoji 😀😀 👩‍👩‍👧 ok, math ∑ → ∞, quotes “so” ‘called’",
    "the the the cat sat on the mat, the cat sat, the mat sat",
]
PROBES = TEXTS + ["", " ", "Shelled slowness; newestness, THE café 学 2027!", "неё ☃ snowman", "aaaaaaaaaaaa"]


class Json:
    """One file of JSON, with the interface that make.py expects."""

    def __init__(self, name):
        self.name = name
        self.cases = {}

    def write(self):
        data = json.dumps({"texts": TEXTS, "probes": PROBES, "cases": self.cases}, ensure_ascii=False, indent=None, separators=(",", ":"))
        data = re.sub(r'("(?:texts|probes|cases|options|tokens|merges|ids)":)', r"\n\1", data) + "\n"
        return (Path(__file__).parent / f"{self.name}.json").write_text(data, encoding="utf-8") and len(data.encode())


def tokens_of(tokenizer):
    return [token for token, _ in sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda entry: entry[1])]


def byte_pair(prefix, min_frequency, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=size, min_frequency=min_frequency, special_tokens=["<pad>", "<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        ),
    )  # fmt: skip
    return {
        "options": {"addPrefixSpace": prefix, "minFrequency": min_frequency, "vocabSize": size},
        "tokens": tokens_of(tokenizer),
        "merges": json.loads(tokenizer.to_str())["model"]["merges"],
        "ids": [tokenizer.encode(text).ids for text in PROBES],
    }


def word_piece(lower, min_frequency, size):
    """
    The trainer gives ids to the characters inside words in the order of a hash table, and breaks ties by id. All characters
    are therefore handed to it as special tokens, in the order of their code points.
    """
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, split = normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()
    words = [word for text in TEXTS for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))]
    characters = sorted({c for word in words for c in word})
    pieces = sorted({c for word in words for c in word[1:]})
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(
            vocab_size=size, min_frequency=min_frequency, special_tokens=specials + characters + [f"##{c}" for c in pieces], show_progress=False,
        ),
    )  # fmt: skip
    tokens = tokens_of(tokenizer)
    # Without the characters as special tokens, which would be cut out of words.
    encoder = Tokenizer(models.WordPiece(vocab={token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    encoder.normalizer, encoder.pre_tokenizer = normalizer, split
    return {
        "options": {"lowerCase": lower, "minFrequency": min_frequency, "vocabSize": size},
        "tokens": tokens,
        "ids": [encoder.encode(text).ids for text in PROBES],
    }


def subwords():
    g = Json("subwords")
    g.cases["bpe"] = byte_pair(False, 2, 330)
    g.cases["bpe.prefix"] = byte_pair(True, 1, 600)
    g.cases["wordPiece"] = word_piece(True, 2, 400)
    g.cases["wordPiece.cased"] = word_piece(False, 1, 330)
    return g


ALL = [subwords]
