"""Rotary positions, and a small Llama written out, under the names of llama2.c."""

import torch
from torch import nn
from torch.nn import functional as F

from recorder import Golden

VOCABULARY, WIDTH, HEADS, KEY_HEADS, INNER, LAYERS, POSITIONS = 7, 8, 2, 1, 6, 2, 5


def turn(x, offset=0, base=10000.0):
    """By complex numbers: pair (2i, 2i + 1) of [B, T, heads, d] is one, turned by position * base^(-2i/d)."""
    width = x.shape[-1]
    speeds = base ** (-torch.arange(0, width, 2).double() / width)
    angles = (torch.arange(x.shape[1]).double() + offset)[:, None] * speeds
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.view_as_real(turned).flatten(-2)


def turn_halves(x, **options):
    """The same with pairs (i, i + d/2)."""
    pairs = x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    return turn(pairs, **options).unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)


def rotary():
    g = Golden("rotary")
    x = g.randn(2, 3, 2, 6)
    g.case("interleaved", lambda input: turn(input), {"input": x})
    g.case("offset", lambda input: turn(input, 5, 100.0), {"input": x}, offset=5, base=100)
    g.case("halves", lambda input: turn_halves(input), {"input": x}, interleaved=False)
    return g


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        keys = WIDTH // HEADS * KEY_HEADS
        self.wq, self.wo = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.wk, self.wv = (nn.Linear(WIDTH, keys, bias=False) for _ in range(2))

    def forward(self, x):
        heads = lambda t: t.unflatten(-1, (-1, WIDTH // HEADS))  # noqa: E731
        q, k, v = turn(heads(self.wq(x))), turn(heads(self.wk(x))), heads(self.wv(x))
        k, v = (t.repeat_interleave(HEADS // KEY_HEADS, dim=2) for t in (k, v))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return self.wo(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w3 = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.w2 = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.feed_forward = Attention(), FeedForward()
        self.attention_norm, self.ffn_norm = (nn.RMSNorm(WIDTH, eps=1e-5) for _ in range(2))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.tok_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        if not tied:
            self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        x = self.tok_embeddings(ids)
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), getattr(self, "output", self.tok_embeddings).weight)


def llama(name, tied):
    g = Golden(name)
    model = g.fill(Llama(tied))
    sizes = {
        "vocabularySize": VOCABULARY, "embedDim": WIDTH, "hiddenDim": INNER, "numLayers": LAYERS, "numHeads": HEADS,
        "numKeyHeads": KEY_HEADS, "maxPositions": POSITIONS, "tied": tied,
    }  # fmt: skip
    ids = torch.tensor([[1, 3, 5, 2], [6, 6, 0, 4]])
    g.case("causal", lambda ids: model(ids), {"ids": ids}, model, **sizes)
    return g


def llama_tied():
    return llama("llamaTied", True)


def llama_untied():
    return llama("llamaUntied", False)


ALL = [rotary, llama_tied, llama_untied]
