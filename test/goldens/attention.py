"""Multi-head attention, Transformer encoder and decoder, RMSNorm, and the published study's Transformer."""

import torch
from torch import nn
from torch.nn import functional as F

from recorder import Golden

PADDING = torch.tensor([[False, False, False, True], [False, True, False, False]])
FORBIDDEN = torch.tensor([[False, True, True, False], [False, False, True, True], [True, False, False, False]])
CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)


def mha_case(g, name, inputs, masks=(), average=True, weights=True, **options):
    names = {"bias": "bias", "batchFirst": "batch_first", "kdim": "kdim", "vdim": "vdim"}
    layer = g.fill(nn.MultiheadAttention(4, 2, **{names[key]: value for key, value in options.items()}))

    def run(query, key=None, value=None, keyPaddingMask=None, attnMask=None):
        key = query if key is None else key
        output, attention = layer(
            query, key, key if value is None else value, key_padding_mask=keyPaddingMask, attn_mask=attnMask,
            need_weights=weights, average_attn_weights=average,
        )  # fmt: skip
        return {"output": output, "attention": attention} if weights else {"output": output}

    extra = {} if average else {"averageWeights": False}
    extra |= {} if weights else {"needWeights": False}
    g.case(name, run, inputs | dict(masks), layer, sizes=[4, 2], **options, **extra)


def mha():
    g = Golden("multiheadAttention")
    q, k, v = g.randn(3, 2, 4), g.randn(4, 2, 4), g.randn(4, 2, 4)
    mha_case(g, "self", {"query": q})
    mha_case(g, "noBias", {"query": q.transpose(0, 1)}, batchFirst=True, bias=False)
    mha_case(g, "crossSame", {"query": q, "key": k}, {"keyPaddingMask": PADDING})
    mha_case(g, "distinct", {"query": q, "key": k, "value": v}, average=False)
    mha_case(g, "widths", {"query": q, "key": g.randn(4, 2, 3), "value": g.randn(4, 2, 5)}, weights=False, kdim=3, vdim=5)
    return g


def attention_masks():
    """`perHead` has one mask per row and head, `causal` is reproduced by the library's own option."""
    g = Golden("attentionMasks")
    q, k, v = g.randn(3, 2, 4), g.randn(4, 2, 4), g.randn(4, 2, 4)
    mha_case(g, "bool", {"query": q, "key": k, "value": v}, {"keyPaddingMask": PADDING, "attnMask": FORBIDDEN}, average=False)
    additive = g.randn(3, 4)
    additive[1, 2] = -torch.inf
    mha_case(g, "additive", {"query": q, "key": k}, {"attnMask": additive})
    mha_case(g, "perHead", {"query": q, "key": k}, {"attnMask": torch.cat([FORBIDDEN[None], ~FORBIDDEN[None]] * 2)}, weights=False)
    mha_case(g, "causal", {"query": g.randn(2, 4, 4)}, {"attnMask": CAUSAL}, batchFirst=True, average=False)
    return g


def head_dim():
    """Heads of another width than embedDim / numHeads, which torch's layer lacks: q, k, v are 2 heads of 2, embedDim 5."""
    g = Golden("attentionHeadDim")
    layer = nn.Module()
    layer.in_proj_weight, layer.in_proj_bias = nn.Parameter(torch.empty(12, 5)), nn.Parameter(torch.empty(12))
    layer.out_proj = nn.Linear(4, 5)
    g.fill(layer)

    def run(query):
        q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in F.linear(query, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1))
        output = F.scaled_dot_product_attention(q, k, v)
        return layer.out_proj(output.transpose(1, 2).flatten(2))

    g.case("two", run, {"query": g.randn(2, 3, 5)}, layer, sizes=[5, 2], headDim=2, batchFirst=True)
    return g


def mask_after():
    """The mask multiplied after the softmax: renormalized over what is kept, or not."""
    g = Golden("attentionMaskAfter")
    for name in ("after", "afterUnnormalized"):
        layer = g.fill(nn.MultiheadAttention(4, 2, batch_first=True))

        def run(query, keyPaddingMask):
            q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in F.linear(query, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1))
            weights = (q @ k.transpose(-1, -2) / 2**0.5).softmax(-1) * ~keyPaddingMask[:, None, None]
            if name == "after":
                weights = weights / weights.sum(-1, keepdim=True)
            return {"output": layer.out_proj((weights @ v).transpose(1, 2).flatten(2)), "attention": weights.mean(1)}

        g.case(name, run, {"query": g.randn(2, 4, 4), "keyPaddingMask": PADDING}, layer, sizes=[4, 2], batchFirst=True, maskPlacement=name)
    return g


NAMES = {"dimFeedforward": "dim_feedforward", "batchFirst": "batch_first", "normFirst": "norm_first", "activation": "activation", "bias": "bias", "layerNormEps": "layer_norm_eps"}


def encoder_case(g, name, src, attn_mask=None, count=0, norm=False, **options):
    """One layer, or `count` of them."""
    options = {"dimFeedforward": 5} | options
    model = nn.TransformerEncoderLayer(4, 2, dropout=0.0, **{NAMES[key]: value for key, value in options.items()})
    extra = {}
    if count:
        model = nn.TransformerEncoder(model, count, nn.LayerNorm(4) if norm else None, enable_nested_tensor=False)
        extra = {"numLayers": count, "norm": norm}
    g.fill(model)
    mask = "mask" if count else "src_mask"
    run = lambda src, srcKeyPaddingMask, attnMask=None: model(src, src_key_padding_mask=srcKeyPaddingMask, **{mask: attnMask})  # noqa: E731
    inputs = {"src": src, "srcKeyPaddingMask": PADDING} | ({} if attn_mask is None else {"attnMask": attn_mask})
    g.case(name, run, inputs, model, sizes=[4, 2], **options, **extra)


def encoder_layers():
    g = Golden("transformerEncoderLayer")
    encoder_case(g, "postnorm", g.randn(4, 2, 4))
    encoder_case(g, "prenorm", g.randn(2, 4, 4), CAUSAL, normFirst=True, activation="gelu", batchFirst=True)
    encoder_case(g, "noBias", g.randn(2, 4, 4), bias=False, layerNormEps=1e-3, batchFirst=True)
    return g


def encoders():
    g = Golden("transformerEncoder")
    encoder_case(g, "two", g.randn(2, 4, 4), CAUSAL, count=2, batchFirst=True, activation="gelu")
    encoder_case(g, "norm", g.randn(2, 4, 4), count=2, norm=True, batchFirst=True, normFirst=True)
    return g


def decoder_case(g, name, tgt, memory, masks, count=0, norm=False, **options):
    """One layer, or `count` of them; `masks` under the library's names."""
    names = {"tgtMask": "tgt_mask", "memoryMask": "memory_mask", "tgtKeyPaddingMask": "tgt_key_padding_mask", "memoryKeyPaddingMask": "memory_key_padding_mask"}
    options = {"dimFeedforward": 5} | options
    model = nn.TransformerDecoderLayer(4, 2, dropout=0.0, **{NAMES[key]: value for key, value in options.items()})
    extra = {}
    if count:
        model = nn.TransformerDecoder(model, count, nn.LayerNorm(4) if norm else None)
        extra = {"numLayers": count, "norm": norm}
    g.fill(model)
    run = lambda tgt, memory, **masks: model(tgt, memory, **{names[key]: mask for key, mask in masks.items()})  # noqa: E731
    g.case(name, run, {"tgt": tgt, "memory": memory} | masks, model, sizes=[4, 2], **options, **extra)


def decoder_layers():
    g = Golden("transformerDecoderLayer")
    padding = {"tgtKeyPaddingMask": PADDING, "memoryKeyPaddingMask": PADDING}
    decoder_case(g, "postnorm", g.randn(4, 2, 4), g.randn(4, 2, 4), padding | {"tgtMask": CAUSAL})
    decoder_case(g, "prenorm", g.randn(2, 4, 4), g.randn(2, 4, 4), padding | {"tgtMask": CAUSAL}, normFirst=True, activation="gelu", batchFirst=True)
    decoder_case(g, "noBias", g.randn(2, 3, 4), g.randn(2, 4, 4), {"memoryMask": FORBIDDEN}, bias=False, layerNormEps=1e-3, batchFirst=True)
    return g


def decoders():
    """The mask of what lies ahead is reproduced by the library's own option."""
    g = Golden("transformerDecoder")
    masks = {"tgtMask": CAUSAL, "memoryKeyPaddingMask": PADDING}
    decoder_case(g, "norm", g.randn(2, 4, 4), g.randn(2, 4, 4), masks, count=2, norm=True, batchFirst=True, normFirst=True)
    return g


def rms_norm():
    g = Golden("rmsNorm")
    cases = [("weight", [5], {}), ("noWeight", [5], {"elementwise_affine": False}), ("eps", [5], {"eps": 1e-2}), ("twoAxes", [3, 4], {})]
    camel = {"elementwise_affine": "elementwiseAffine", "eps": "eps"}
    for case, shape, options in cases:
        layer = g.fill(nn.RMSNorm(shape, **options))
        g.case(
            case, lambda input: layer(input), {"input": g.randn(2, 3, shape[-1]) * 2 + 0.5}, layer,
            normalizedShape=shape, **{camel[key]: value for key, value in options.items()},
        )  # fmt: skip
    return g


# --- the study's Transformer -----------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, embed, hidden, heads, prenorm):
        super().__init__()
        self.prenorm, self.watched = prenorm, False
        self.layer_norm_1, self.layer_norm_2 = nn.LayerNorm(embed), nn.LayerNorm(embed)
        self.attn = nn.MultiheadAttention(embed, heads, batch_first=True)
        self.linear = nn.Sequential(nn.Linear(embed, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, embed), nn.Dropout(0.0))

    def forward(self, x, mask=None):
        def attend(y):
            out, self.weights = self.attn(y, y, y, key_padding_mask=None if mask is None else ~mask, need_weights=self.watched)
            return out

        if self.prenorm:
            a = x + attend(self.layer_norm_1(x))
            return a + self.linear(self.layer_norm_2(a))
        a = self.layer_norm_1(x + attend(x))
        return self.layer_norm_2(a + self.linear(a))


class Transformer(nn.Module):
    def __init__(self, vocabulary, embed, hidden, heads, layers, positions, prenorm):
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed))
        self.pos_embedding = nn.Parameter(torch.empty(1, 1 + positions, embed))
        self.embedding = nn.Embedding(vocabulary, embed)
        self.transformer = nn.ModuleList(Block(embed, hidden, heads, prenorm) for _ in range(layers))
        self.mlp_head = nn.LayerNorm(embed)

    def forward(self, ids, mask=None):
        return self.mlp_head(self.states(ids, mask)[:, 0])

    def states(self, ids, mask=None):
        x = torch.cat([self.cls_token.expand(len(ids), -1, -1), self.embedding(ids)], 1)
        x = x + self.pos_embedding[:, : x.shape[1]]
        if mask is not None:
            mask = torch.cat([torch.ones(len(ids), 1, dtype=torch.bool), mask], 1)
        for block in self.transformer:
            x = block(x, mask)
        return x


def study_transformer():
    g = Golden("studyTransformer")
    ids = torch.tensor([[3, 7, 1, 5, 0], [2, 6, 0, 0, 0], [4, 4, 6, 8, 1]])
    for block in ("prenorm", "postnorm"):
        model = g.fill(Transformer(9, 4, 2, 2, 1, 5, block == "prenorm"))
        sizes = {"vocabularySize": 9, "embedDim": 4, "hiddenDim": 2, "numHeads": 2, "numLayers": 1, "sequenceLength": 5, "block": block}
        g.case(f"{block}.masked", lambda ids, mask: model(ids, mask), {"ids": ids, "mask": ids != 0}, model, **sizes)
        g.case(f"{block}.plain", lambda ids: model(ids), {"ids": ids}, model, **sizes)
    return g


class TransformerClassifier(nn.Module):
    def __init__(self, pooling, classes, *sizes):
        super().__init__()
        self.pooling = pooling
        self.transformer = Transformer(*sizes)
        self.transformer.transformer[-1].watched = True
        self.linear = nn.Linear(sizes[1], classes)

    def pool(self, x, mask):
        if self.pooling == "cls":
            return x[:, 0]
        return torch.stack([row[1:][real].mean(0) for row, real in zip(x, mask)])

    def forward(self, ids, mask):
        states = self.transformer.states(ids, mask)
        output = self.linear(self.transformer.mlp_head(self.pool(states, mask)))
        return {"output": output, "attention": self.pool(self.transformer.transformer[-1].weights, mask)[:, 1:]}


def transformer_classifier():
    g = Golden("transformerClassifier")
    ids = torch.tensor([[3, 7, 1, 5, 0], [2, 6, 0, 0, 0], [4, 4, 6, 8, 1]])
    for pooling, block in (("cls", "prenorm"), ("mean", "postnorm")):
        model = g.fill(TransformerClassifier(pooling, 3, 9, 4, 2, 2, 2, 5, block == "prenorm"))
        sizes = {"vocabularySize": 9, "numClasses": 3, "embeddingSize": 4, "hiddenSize": 2, "numHeads": 2, "numLayers": 2, "maxLength": 5}
        g.case(f"{pooling}.{block}", model, {"ids": ids, "mask": ids != 0}, model, pooling=pooling, block=block, **sizes)
    return g


ALL = [mha, attention_masks, head_dim, mask_after, encoder_layers, encoders, decoder_layers, decoders, rms_norm, study_transformer, transformer_classifier]
