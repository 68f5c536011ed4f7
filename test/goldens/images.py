"""Layers over images and sequences: convolutions, pooling, batch normalization."""

import torch
from torch import nn

from recorder import Golden

CAMEL = {
    "ceil_mode": "ceilMode",
    "track_running_stats": "trackRunningStats",
}


def camel(options):
    return {CAMEL.get(key, key): value for key, value in options.items()}


def conv(name, Type, cases):
    g = Golden(name)
    for case, sizes, shape, options in cases:
        layer = g.fill(Type(*sizes, **options))
        g.case(case, lambda input: layer(input), {"input": g.randn(*shape)}, layer, sizes=sizes, **camel(options))
    return g


def conv1d():
    return conv(
        "conv1d", nn.Conv1d,
        [
            ("plain", [2, 3, 3], (2, 2, 6), {}),
            ("unbatched", [2, 3, 2], (2, 5), {}),
            ("stride", [2, 3, 3], (2, 2, 8), {"stride": 2, "padding": 1}),
            ("same", [2, 2, 4], (2, 2, 5), {"padding": "same", "dilation": 2, "bias": False}),
            ("groups", [4, 6, 2], (2, 4, 5), {"groups": 2, "padding": "valid"}),
            ("pointwise", [3, 2, 1], (2, 3, 4), {}),
        ],
    )  # fmt: skip


def conv2d():
    return conv(
        "conv2d", nn.Conv2d,
        [
            ("plain", [2, 3, 3], (2, 2, 5, 4), {}),
            ("unbatched", [2, 2, [1, 3]], (2, 3, 4), {"bias": False}),
            ("stride", [2, 3, [3, 2]], (2, 2, 7, 6), {"stride": [2, 3], "padding": [1, 0]}),
            ("dilation", [1, 2, 3], (2, 1, 7, 6), {"dilation": [3, 2], "padding": 1}),
            ("same", [2, 2, [2, 3]], (1, 2, 4, 5), {"padding": "same"}),
            ("groups", [4, 6, 2], (2, 4, 4, 4), {"groups": 2, "stride": 2}),
            ("depthwise", [3, 3, 3], (2, 3, 4, 4), {"groups": 3, "padding": 1, "bias": False}),
        ],
    )  # fmt: skip


def pooling(name, Type, cases):
    g = Golden(name)
    for case, size, input, options in cases:
        layer = Type(size, **options)
        g.case(case, lambda input: layer(input), {"input": input(g)}, kernelSize=size, **camel(options))
    return g


def max_pool2d():
    def ties(g):
        return g.randint(0, 2, (2, 2, 6, 5)).double()

    def hard(_):
        x = torch.arange(16.0).reshape(1, 1, 4, 4)
        x[0, 0, 0, 1] = torch.inf
        x[0, 0, 3, 3] = -torch.inf
        return -x

    return pooling(
        "maxPool2d", nn.MaxPool2d,
        [
            ("plain", 2, lambda g: g.randn(2, 3, 4, 6), {}),
            ("unbatched", [2, 3], lambda g: g.randn(2, 5, 7), {}),
            ("overlap", 3, lambda g: g.randn(2, 2, 6, 5), {"stride": [1, 2], "padding": 1}),
            ("negative", 3, lambda g: -g.randn(1, 2, 5, 5).abs() - 1, {"stride": 2, "padding": 1}),
            ("dilation", 2, lambda g: g.randn(1, 2, 6, 7), {"stride": 1, "padding": [0, 1], "dilation": [3, 2]}),
            ("ceil", 3, lambda g: g.randn(1, 2, 6, 8), {"stride": 2, "ceil_mode": True}),
            ("ceilPadded", 2, lambda g: g.randn(1, 2, 5, 4), {"stride": 3, "padding": 1, "ceil_mode": True}),
            ("ties", 3, ties, {"stride": 1}),
            ("infinities", 2, hard, {}),
        ],
    )  # fmt: skip


def avg_pool2d():
    return pooling(
        "avgPool2d", nn.AvgPool2d,
        [
            ("plain", 2, lambda g: g.randn(2, 3, 4, 6), {}),
            ("overlap", [3, 2], lambda g: g.randn(2, 2, 6, 5), {"stride": [2, 1], "padding": [1, 1]}),
            ("unbatched", 3, lambda g: g.randn(2, 4, 5), {"stride": 1}),
        ],
    )  # fmt: skip


def batch_norm():
    """Two batches in training, then one in evaluation, and the running statistics after the training."""
    g = Golden("batchNorm")
    cases = [
        ("vectors", nn.BatchNorm1d, (4, 3), {}),
        ("sequences", nn.BatchNorm1d, (3, 2, 4), {"momentum": 0.3, "eps": 1e-2}),
        ("images", nn.BatchNorm2d, (2, 3, 2, 4), {}),
        ("noAffine", nn.BatchNorm2d, (2, 2, 3, 2), {"affine": False}),
        ("average", nn.BatchNorm1d, (4, 2), {"momentum": None}),
        ("untracked", nn.BatchNorm2d, (2, 2, 2, 2), {"track_running_stats": False}),
    ]
    for case, Type, shape, options in cases:
        layer = g.fill(Type(shape[1], **options))

        def run(first, second, third):
            outputs = {"one": layer.train()(first), "two": layer(second), "three": layer.eval()(third)}
            return outputs | {name: buffer.clone() for name, buffer in layer.named_buffers()}

        inputs = {name: g.randn(*shape) * 2 + 0.5 for name in ("first", "second", "third")}
        g.case(case, run, inputs, layer, sizes=[shape[1]], rank=len(shape), **camel(options))
    return g


ALL = [conv1d, conv2d, max_pool2d, avg_pool2d, batch_norm]
