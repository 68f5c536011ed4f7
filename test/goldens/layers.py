"""Layers: Linear, Embedding, LayerNorm, GRU, LSTM, RNN, activations."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recorder import Golden


def linear():
    g = Golden("linear")
    for case, bias, shape in [("bias", True, (2, 3, 4)), ("noBias", False, (5, 4)), ("vector", True, (4,))]:
        layer = g.fill(nn.Linear(4, 3, bias=bias))
        g.case(case, lambda input: layer(input), {"input": g.randn(*shape)}, layer, sizes=[4, 3], bias=bias)
    return g


def embedding():
    g = Golden("embedding")
    ids = torch.tensor([[1, 0, 4], [4, 6, 4]])
    for case, options in [("plain", {}), ("paddingIdx", {"padding_idx": 4}), ("negativePaddingIdx", {"padding_idx": -3})]:
        layer = g.fill(nn.Embedding(7, 3, **options))
        camel = {"paddingIdx": options["padding_idx"]} if options else {}
        g.case(case, lambda ids: layer(ids), {"ids": ids}, layer, sizes=[7, 3], **camel)
    return g


def layer_norm():
    g = Golden("layerNorm")
    cases = [
        ("affine", [5], {}),
        ("noAffine", [5], {"elementwise_affine": False}),
        ("noBias", [5], {"bias": False}),
        ("eps", [5], {"eps": 1e-2}),
        ("twoAxes", [3, 4], {}),
    ]
    camel = {"elementwise_affine": "elementwiseAffine", "bias": "bias", "eps": "eps"}
    for case, shape, options in cases:
        layer = g.fill(nn.LayerNorm(shape, **options))
        input = g.randn(2, 3, shape[-1]) * 2 + 0.5
        g.case(
            case, lambda input: layer(input), {"input": input}, layer,
            normalizedShape=shape, **{camel[key]: value for key, value in options.items()},
        )  # fmt: skip
    # A constant row has variance 0; a row far from 0 shows whether the variance is computed in two passes.
    g.case(
        "hard", lambda input: F.layer_norm(input, [4]),
        {"input": torch.tensor([[2.0, 2, 2, 2], [1000, 1000.25, 1000.5, 1001]])}, normalizedShape=[4], elementwiseAffine=False,
    )  # fmt: skip
    vector = F.layer_norm(torch.tensor([1.0, 2, 3, 4]), [4])
    torch.testing.assert_close(vector, torch.tensor([-1.34163542, -0.44721181, 0.44721181, 1.34163542]))
    return g


# --- GRU -------------------------------------------------------------------------------------------


def gru_call(layer, lengths=None):
    """(input, h0?) -> output and hidden; `lengths` goes through pack_padded_sequence, padding gives zeros."""

    def call(input, h0=None, **_):
        if lengths is None:
            output, hidden = layer(input, h0)
        else:
            packed = pack_padded_sequence(input, lengths, batch_first=layer.batch_first, enforce_sorted=False)
            output, hidden = layer(packed, h0)
            total = input.shape[1 if layer.batch_first else 0]
            output, _ = pad_packed_sequence(output, batch_first=layer.batch_first, total_length=total)
        return {"output": output, "hidden": hidden}

    return call


def gru_case(g, case, inputs, lengths=None, call=None, **options):
    """Options in camelCase; sizes is [inputSize, hiddenSize]."""
    snake = {"numLayers": "num_layers", "batchFirst": "batch_first", "bidirectional": "bidirectional", "bias": "bias"}
    layer = g.fill(nn.GRU(*options["sizes"], **{snake[key]: value for key, value in options.items() if key in snake}))
    if lengths is not None:
        inputs = inputs | {"lengths": torch.tensor(lengths)}
    g.case(case, call(layer) if call else gru_call(layer, lengths), inputs, layer, **options)


def gru():
    """One layer: (T, B, I) without h0, with h0, without bias, an unbatched-size batch of one, T = 1."""
    g = Golden("gru")
    gru_case(g, "single", {"input": g.randn(4, 2, 3)}, sizes=[3, 2])
    gru_case(g, "h0", {"input": g.randn(4, 2, 3), "h0": g.randn(1, 2, 2)}, sizes=[3, 2])
    gru_case(g, "noBias", {"input": g.randn(2, 3, 3)}, sizes=[3, 2], bias=False, batchFirst=True)
    gru_case(g, "oneStep", {"input": g.randn(2, 1, 3), "h0": g.randn(2, 2, 2)}, sizes=[3, 2], bidirectional=True, batchFirst=True)
    return g


def gru_det():
    """The published vector: weights det(1..4), x = det(9), I = H = 2, h0 = 0, loss = sum(output)."""

    def det(n, *shape):
        count = torch.Size(shape).numel()
        return torch.tensor([((7 * i + 3 * n) % 11 - 5) / 10 for i in range(count)]).reshape(shape)

    g = Golden("gruDet")
    layer = nn.GRU(2, 2, batch_first=True)
    with torch.no_grad():
        for n, parameter in enumerate([layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]):
            parameter.copy_(det(n + 1, *parameter.shape))
    # The published gradients are those of sum(output), so the cotangent is 1 and Golden.case, which draws one, is not used.
    input = det(9, 1, 3, 2).requires_grad_()
    output, hidden = layer(input)
    output.sum().backward()
    g.options("det", sizes=[2, 2], batchFirst=True)
    g.put("det", "input", input)
    g.put("det", "output", output)
    g.put("det", "hidden", hidden)
    g.put("det", "cotangent.output", torch.ones_like(output))
    g.put("det", "grad.input", input.grad)
    for name, parameter in layer.named_parameters():
        g.put("det", f"param.{name}", parameter)
        g.put("det", f"grad.{name}", parameter.grad)
    expected = [0.11688431515274827, -0.28590527996300763, 0.08088973411364153, -0.3931646732267262, 0.03908433750214403, -0.4993172628623023]
    torch.testing.assert_close(output.flatten(), torch.tensor(expected), rtol=1e-13, atol=0)
    return g


def gru_layers():
    """Two layers, both directions, batch first."""
    g = Golden("gruLayers")
    options = {"numLayers": 2, "bidirectional": True, "batchFirst": True}
    gru_case(g, "deep", {"input": g.randn(3, 4, 3), "h0": g.randn(4, 3, 3)}, sizes=[3, 3], **options)
    gru_case(g, "oneDirection", {"input": g.randn(3, 4, 3)}, sizes=[3, 3], numLayers=2, batchFirst=True)
    return g


def gru_lengths():
    """Right padding as pack_padded_sequence: the reverse direction starts at the last real step, padding outputs are 0."""
    g = Golden("gruLengths")
    input, h0 = g.randn(3, 5, 3), g.randn(4, 3, 3)
    gru_case(g, "deep", {"input": input, "h0": h0}, lengths=[3, 5, 1], sizes=[3, 3], numLayers=2, bidirectional=True, batchFirst=True)
    # No sequence reaches the last step; time first.
    gru_case(g, "shorter", {"input": g.randn(5, 3, 3), "h0": g.randn(1, 3, 3)}, lengths=[2, 4, 4], sizes=[3, 3])
    return g


def gru_mask():
    """Any mask holds the state: where it is 0 the state, and so the output, is that of the step before."""
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)

    def call(layer):
        def run(input, mask, h0):
            steps = input.shape[1]
            hidden = []
            for k in range(layer.num_layers):
                directions = []
                for d, suffix in enumerate(["", "_reverse"]):
                    weight = lambda name: getattr(layer, f"{name}_l{k}{suffix}")  # noqa: E731
                    h = h0[2 * k + d]
                    outputs = [None] * steps
                    for t in range(steps) if d == 0 else reversed(range(steps)):
                        gi = F.linear(input[:, t], weight("weight_ih"), weight("bias_ih"))
                        gh = F.linear(h, weight("weight_hh"), weight("bias_hh"))
                        (xr, xz, xn), (hr, hz, hn) = gi.chunk(3, 1), gh.chunk(3, 1)
                        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
                        n = torch.tanh(xn + r * hn)
                        h = torch.where(mask[:, t, None], (1 - z) * n + z * h, h)
                        outputs[t] = h
                    directions.append(torch.stack(outputs, 1))
                    hidden.append(h)
                input = torch.cat(directions, 2)
            return {"output": input, "hidden": torch.stack(hidden)}

        # With every step kept the loop is torch's own GRU.
        full = torch.ones(3, 5, dtype=torch.bool)
        ours, (output, last) = run(input, full, h0), layer(input, h0)
        torch.testing.assert_close(ours["output"], output)
        torch.testing.assert_close(ours["hidden"], last)
        return run

    g = Golden("gruMask")
    input, h0 = g.randn(3, 5, 3), g.randn(4, 3, 3)
    gru_case(g, "deep", {"input": input, "mask": mask, "h0": h0}, call=call, sizes=[3, 3], numLayers=2, bidirectional=True, batchFirst=True)
    return g


# --- LSTM and RNN ----------------------------------------------------------------------------------


def recurrent_case(g, case, kind, inputs, lengths=None, **options):
    """`c0` and `cell` are the LSTM's second state. `lengths` as in the GRU's cases."""
    names = {"numLayers": "num_layers", "batchFirst": "batch_first", "bidirectional": "bidirectional", "bias": "bias", "nonlinearity": "nonlinearity"}
    layer = g.fill(kind(*options["sizes"], **{names[key]: value for key, value in options.items() if key in names}))

    def run(input, h0=None, c0=None, **_):
        first = h0 if c0 is None else (h0, c0)
        if lengths is None:
            output, last = layer(input, first)
        else:
            packed = pack_padded_sequence(input, lengths, batch_first=layer.batch_first, enforce_sorted=False)
            output, last = layer(packed, first)
            total = input.shape[1 if layer.batch_first else 0]
            output, _ = pad_packed_sequence(output, batch_first=layer.batch_first, total_length=total)
        last = {"hidden": last[0], "cell": last[1]} if kind is nn.LSTM else {"hidden": last}
        return {"output": output} | last

    if lengths is not None:
        inputs = inputs | {"lengths": torch.tensor(lengths)}
    g.case(case, run, inputs, layer, **options)


def lstm():
    g = Golden("lstm")
    recurrent_case(g, "single", nn.LSTM, {"input": g.randn(4, 2, 3)}, sizes=[3, 2])
    recurrent_case(g, "states", nn.LSTM, {"input": g.randn(4, 2, 3), "h0": g.randn(1, 2, 2), "c0": g.randn(1, 2, 2)}, sizes=[3, 2])
    recurrent_case(g, "noBias", nn.LSTM, {"input": g.randn(2, 3, 3)}, sizes=[3, 2], bias=False, batchFirst=True)
    deep = {"input": g.randn(3, 5, 3), "h0": g.randn(4, 3, 2), "c0": g.randn(4, 3, 2)}
    recurrent_case(g, "lengths", nn.LSTM, deep, lengths=[3, 5, 1], sizes=[3, 2], numLayers=2, bidirectional=True, batchFirst=True)
    return g


def lstm_mask():
    """As gruMask: both states are held where the mask is 0."""
    g = Golden("lstmMask")
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)
    layer = g.fill(nn.LSTM(3, 2, batch_first=True, bidirectional=True))

    def run(input, mask, h0, c0):
        sides, hidden, cells = [], [], []
        for d, suffix in enumerate(["", "_reverse"]):
            weight = lambda name: getattr(layer, f"{name}_l0{suffix}")  # noqa: E731
            h, c = h0[d], c0[d]
            outputs = [None] * input.shape[1]
            for t in range(input.shape[1]) if d == 0 else reversed(range(input.shape[1])):
                gates = F.linear(input[:, t], weight("weight_ih"), weight("bias_ih")) + F.linear(h, weight("weight_hh"), weight("bias_hh"))
                i, f, u, o = gates.chunk(4, 1)
                after = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
                keep = mask[:, t, None]
                h, c = torch.where(keep, torch.sigmoid(o) * torch.tanh(after), h), torch.where(keep, after, c)
                outputs[t] = h
            sides.append(torch.stack(outputs, 1))
            hidden.append(h)
            cells.append(c)
        return {"output": torch.cat(sides, 2), "hidden": torch.stack(hidden), "cell": torch.stack(cells)}

    # With every step kept the loop is torch's own LSTM.
    input, h0, c0 = g.randn(3, 5, 3), g.randn(2, 3, 2), g.randn(2, 3, 2)
    ours, (output, (hidden, cell)) = run(input, torch.ones(3, 5, dtype=torch.bool), h0, c0), layer(input, (h0, c0))
    for name, value in {"output": output, "hidden": hidden, "cell": cell}.items():
        torch.testing.assert_close(ours[name], value)
    inputs = {"input": input, "mask": mask, "h0": h0, "c0": c0}
    g.case("both", run, inputs, layer, sizes=[3, 2], bidirectional=True, batchFirst=True)
    return g


def rnn():
    g = Golden("rnn")
    recurrent_case(g, "tanh", nn.RNN, {"input": g.randn(4, 2, 3), "h0": g.randn(1, 2, 2)}, sizes=[3, 2])
    recurrent_case(g, "relu", nn.RNN, {"input": g.randn(4, 2, 3)}, sizes=[3, 2], nonlinearity="relu")
    recurrent_case(g, "noBias", nn.RNN, {"input": g.randn(2, 3, 3)}, sizes=[3, 2], bias=False, batchFirst=True)
    deep = {"input": g.randn(3, 5, 3), "h0": g.randn(4, 3, 2)}
    recurrent_case(g, "lengths", nn.RNN, deep, lengths=[3, 5, 1], sizes=[3, 2], numLayers=2, bidirectional=True, batchFirst=True, nonlinearity="relu")
    return g


# --- activations -----------------------------------------------------------------------------------


ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "geluTanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def activations():
    """`usual`: random values and 0. `wide`: 1e-4 to 1e4 on both sides. `special`: infinities and NaN, outputs only."""
    g = Golden("activations")
    half = torch.tensor([1e-4, 0.01, 0.3, 0.75, 1, 1.7, 2.5, 3, 4, 5, 6, 8, 10, 13, 19.9, 20, 20.1, 40, 88, 100, 700, 1e4])
    usual = torch.cat([g.randn(3, 4), torch.zeros(1, 4)])
    wide = torch.cat([-half.flip(0), half])
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 3e38, -3e38])
    for name, fn in ACTIVATIONS.items():
        g.case(f"{name}.usual", lambda input: fn(input), {"input": usual})
        g.case(f"{name}.wide", lambda input: fn(input), {"input": wide})
        g.case(f"{name}.special", lambda input: fn(input), {"input": special}, frozen=["input"])
    return g


def softmaxes():
    g = Golden("softmax")
    x = g.randn(2, 3, 4)
    spread = torch.tensor([[1000.0, 999, -1000], [-torch.inf, 2, 1], [-900, -901, -torch.inf]])
    for name, fn in [("softmax", F.softmax), ("logSoftmax", F.log_softmax)]:
        for dim in (-1, 1, 0):
            g.case(f"{name}.dim{dim}", lambda input: fn(input, dim=dim), {"input": x}, dim=dim)
        g.case(f"{name}.one", lambda input: fn(input, dim=-1), {"input": x[..., :1]}, dim=-1)
    g.case("softmax.spread", lambda input: F.softmax(input, dim=-1), {"input": spread}, dim=-1)
    # log_softmax of a -inf entry is -inf, and a cotangent times it no longer finite: outputs only.
    g.case("logSoftmax.spread", lambda input: F.log_softmax(input, dim=-1), {"input": spread}, frozen=["input"], dim=-1)
    return g


ALL = [linear, embedding, layer_norm, gru, gru_det, gru_layers, gru_lengths, gru_mask, lstm, lstm_mask, rnn, activations, softmaxes]
