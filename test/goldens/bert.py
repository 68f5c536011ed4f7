"""BERT and DistilBERT with a masked-LM head and a classifier, written out; parameters under Hugging Face's names."""

import math

import torch
from torch.nn import functional as F

from recorder import Golden

WIDTH, HEADS, LAYERS, INNER, VOCABULARY, POSITIONS, LABELS = 4, 2, 2, 6, 9, 5, 3
NAMES = {
    "bert": ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"],
    "distilbert": ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                   "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"],
}
CONFIGS = {
    "bert": {
        "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2, "pad_token_id": 0,
    },
    "distilbert": {
        "model_type": "distilbert", "vocab_size": VOCABULARY, "dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS,
        "hidden_dim": INNER, "max_position_embeddings": POSITIONS, "pad_token_id": 0,
    },
}  # fmt: skip


class Bert:
    """Parameters in one table; `head` is 'mlm' or 'cls'."""

    def __init__(self, family, head):
        self.family, self.head, self.table = family, head, {}
        self.stack = "encoder" if family == "bert" else "transformer"
        new = lambda key, *shape: self.table.setdefault(key, torch.zeros(shape, requires_grad=True))  # noqa: E731
        linear = lambda key, rows, cols: (new(f"{key}.weight", rows, cols), new(f"{key}.bias", rows))  # noqa: E731
        norm = lambda key: (new(f"{key}.weight", WIDTH), new(f"{key}.bias", WIDTH))  # noqa: E731
        new(f"{family}.embeddings.word_embeddings.weight", VOCABULARY, WIDTH)
        new(f"{family}.embeddings.position_embeddings.weight", POSITIONS, WIDTH)
        if family == "bert":
            new("bert.embeddings.token_type_embeddings.weight", 2, WIDTH)
        norm(f"{family}.embeddings.LayerNorm")
        query, key, value, out, norm1, linear1, linear2, norm2 = NAMES[family]
        for i in range(LAYERS):
            at = f"{family}.{self.stack}.layer.{i}."
            for name in (query, key, value, out):
                linear(at + name, WIDTH, WIDTH)
            linear(at + linear1, INNER, WIDTH)
            linear(at + linear2, WIDTH, INNER)
            norm(at + norm1)
            norm(at + norm2)
        if head == "cls":
            linear("bert.pooler.dense" if family == "bert" else "pre_classifier", WIDTH, WIDTH)
            linear("classifier", LABELS, WIDTH)
        elif family == "bert":
            linear("cls.predictions.transform.dense", WIDTH, WIDTH)
            norm("cls.predictions.transform.LayerNorm")
            new("cls.predictions.bias", VOCABULARY)
        else:
            linear("vocab_transform", WIDTH, WIDTH)
            norm("vocab_layer_norm")
            new("vocab_projector.bias", VOCABULARY)

    def parameters(self):
        return self.table.values()

    def named_parameters(self):
        return self.table.items()

    def linear(self, key, x):
        return F.linear(x, self.table[f"{key}.weight"], self.table[f"{key}.bias"])

    def norm(self, key, x):
        return F.layer_norm(x, (WIDTH,), self.table[f"{key}.weight"], self.table[f"{key}.bias"], eps=1e-12)

    def layer(self, at, x, mask):
        query, key, value, out, norm1, linear1, linear2, norm2 = NAMES[self.family]
        heads = lambda t: t.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)  # noqa: E731
        q, k, v = (heads(self.linear(at + name, x)) for name in (query, key, value))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)).masked_fill(~mask[:, None, None], -torch.inf)
        attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        a = self.norm(at + norm1, x + self.linear(at + out, attended))
        return self.norm(at + norm2, a + self.linear(at + linear2, F.gelu(self.linear(at + linear1, a))))

    def __call__(self, ids, attentionMask, labels, tokenTypeIds=None):
        table, at = self.table, f"{self.family}.embeddings."
        words = table[at + "word_embeddings.weight"]
        x = F.embedding(ids, words, padding_idx=0) + table[at + "position_embeddings.weight"][: ids.shape[1]]
        if tokenTypeIds is not None:
            x = x + table[at + "token_type_embeddings.weight"][tokenTypeIds]
        states = [self.norm(at + "LayerNorm", x)]
        for i in range(LAYERS):
            states.append(self.layer(f"{self.family}.{self.stack}.layer.{i}.", states[-1], attentionMask))
        x = states[-1]
        if self.head == "cls":
            first = x[:, 0]
            pooled = (
                torch.tanh(self.linear("bert.pooler.dense", first))
                if self.family == "bert"
                else torch.relu(self.linear("pre_classifier", first))
            )
            logits = self.linear("classifier", pooled)
            loss = F.cross_entropy(logits, labels)
        else:
            transform, norm, bias = (
                ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias")
                if self.family == "bert"
                else ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias")
            )
            logits = F.linear(self.norm(norm, F.gelu(self.linear(transform, x))), words, table[bias])
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"logits": logits, "loss": loss, **{f"hidden{i}": state for i, state in enumerate(states)}}


IDS = torch.tensor([[3, 7, 1, 5], [2, 8, 0, 0]])
MASK = IDS != 0
TYPES = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0]])
TOKENS = torch.tensor([[-100, 6, -100, 5], [2, -100, -100, -100]])
CLASSES = torch.tensor([2, 0])


def golden(family, head):
    g = Golden(family + head.capitalize())
    inputs = {"ids": IDS, "attentionMask": MASK, "labels": TOKENS if head == "mlm" else CLASSES}
    if family == "bert":
        inputs["tokenTypeIds"] = TYPES
    model = g.fill(Bert(family, head))
    config = CONFIGS[family] | {"id2label": {str(i): f"class {i}" for i in range(LABELS)}}
    g.case("padded", model, inputs, model, config=config)
    return g


def bert_mlm():
    return golden("bert", "mlm")


def bert_cls():
    return golden("bert", "cls")


def distilbert_mlm():
    return golden("distilbert", "mlm")


def distilbert_cls():
    return golden("distilbert", "cls")


ALL = [bert_mlm, bert_cls, distilbert_mlm, distilbert_cls]
