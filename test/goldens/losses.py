"""Losses: crossEntropy with class indices, bceWithLogits, mse; every reduction."""

import torch
from torch.nn import functional as F

from recorder import Golden

REDUCTIONS = ["mean", "sum", "none"]


def cross_entropy():
    g = Golden("crossEntropy")
    input = g.randn(6, 4) * 2
    target = torch.tensor([2, 0, 3, 3, 1, 0])
    weight = torch.tensor([0.2, 1.5, 1.0, 3.0])
    cases = {
        "plain": {},
        "weight": {"weight": weight},
        "labelSmoothing": {"label_smoothing": 0.1},
        "ignoreIndex": {"ignore_index": 3},
        "weightSmoothing": {"weight": weight, "label_smoothing": 0.2},
        "all": {"weight": weight, "label_smoothing": 0.2, "ignore_index": 3},
    }
    camel = {"label_smoothing": "labelSmoothing", "ignore_index": "ignoreIndex"}
    for name, options in cases.items():
        tensors = {key: value for key, value in options.items() if key == "weight"}
        numbers = {key: value for key, value in options.items() if key != "weight"}
        for reduction in REDUCTIONS:

            def run(input, target, weight=None):
                return F.cross_entropy(input, target, weight=weight, reduction=reduction, **numbers)

            g.case(
                f"{name}.{reduction}", run, {"input": input, "target": target} | tensors, frozen=["weight"],
                reduction=reduction, **{camel[key]: value for key, value in numbers.items()},
            )  # fmt: skip
    # -100 is the default ignoreIndex; logits far apart must neither overflow nor lose the loss.
    far = torch.tensor([[1000.0, -1000, 0], [5, 5, 5], [-1e4, 0, 1e4]])
    run = lambda input, target: F.cross_entropy(input, target)  # noqa: E731
    g.case("hard.mean", run, {"input": far, "target": torch.tensor([1, -100, 0])}, reduction="mean")
    return g


def bce_with_logits():
    g = Golden("bceWithLogits")
    input = torch.cat([g.randn(4, 3), torch.tensor([[0.0, 100, -100], [-1000, 1000, 0]])])
    target = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0.3, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0.5]])
    weight, pos_weight = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([1.0, 3.0, 0.25])
    cases = {
        "plain": {},
        "weight": {"weight": weight},
        "posWeight": {"posWeight": pos_weight},
        "both": {"weight": weight, "posWeight": pos_weight},
    }
    for name, tensors in cases.items():
        for reduction in REDUCTIONS:

            def run(input, target, weight=None, posWeight=None):
                return F.binary_cross_entropy_with_logits(
                    input, target, weight=weight, pos_weight=posWeight, reduction=reduction
                )

            inputs = {"input": input, "target": target} | tensors
            g.case(f"{name}.{reduction}", run, inputs, frozen=["target", "weight", "posWeight"], reduction=reduction)
    return g


def mse():
    g = Golden("mse")
    input, target = g.randn(4, 3), g.randn(4, 3)
    for reduction in REDUCTIONS:
        run = lambda input, target: F.mse_loss(input, target, reduction=reduction)  # noqa: E731
        g.case(f"plain.{reduction}", run, {"input": input, "target": target}, reduction=reduction)
    return g


ALL = [cross_entropy, bce_with_logits, mse]
