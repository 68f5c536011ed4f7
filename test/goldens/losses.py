"""Losses: crossEntropy with class indices, nll, bceWithLogits, mse and the other losses of pairs; every reduction."""

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


def nll():
    g = Golden("nll")
    input, target = F.log_softmax(g.randn(5, 4), 1), torch.tensor([2, 0, 3, 3, 1])
    weight = torch.tensor([0.2, 1.5, 1.0, 3.0])
    for reduction in REDUCTIONS:
        run = lambda input, target, weight=None: F.nll_loss(input, target, weight=weight, reduction=reduction)  # noqa: E731
        g.case(f"plain.{reduction}", run, {"input": input, "target": target}, reduction=reduction)
        run = lambda input, target, weight: F.nll_loss(input, target, weight=weight, ignore_index=3, reduction=reduction)  # noqa: E731
        inputs = {"input": input, "target": target, "weight": weight}
        g.case(f"weight.{reduction}", run, inputs, frozen=["weight"], reduction=reduction, ignoreIndex=3)
    places = torch.tensor([[2, 0, -100], [3, 3, 1]])
    g.case("places", lambda input, target: F.nll_loss(input, target), {"input": g.randn(2, 4, 3), "target": places})
    return g


def pair_losses():
    """l1, smoothL1, huber, klDiv, marginRanking, cosineEmbedding; the first part of a case's name is the function."""
    g = Golden("pairLosses")
    input, target = g.randn(4, 3) * 2, g.randn(4, 3)
    target[1, 1] = input[1, 1]  # no error at all
    kinds = {
        "l1": (F.l1_loss, [{}]),
        "smoothL1": (F.smooth_l1_loss, [{}, {"beta": 0.3}, {"beta": 0.0}]),
        "huber": (F.huber_loss, [{}, {"delta": 1.7}]),
    }
    for name, (fn, variants) in kinds.items():
        for i, options in enumerate(variants):
            for reduction in REDUCTIONS if i == 0 else ["mean"]:
                run = lambda input, target: fn(input, target, reduction=reduction, **options)  # noqa: E731
                g.case(f"{name}.{i}.{reduction}", run, {"input": input, "target": target}, reduction=reduction, **options)
    return g


def kl_div():
    g = Golden("klDiv")
    input, target = F.log_softmax(g.randn(4, 3), 1), F.softmax(g.randn(4, 3), 1)
    for reduction in [*REDUCTIONS, "batchmean"]:
        run = lambda input, target: F.kl_div(input, target, reduction=reduction)  # noqa: E731
        g.case(f"plain.{reduction}", run, {"input": input, "target": target}, reduction=reduction)
        run = lambda input, target: F.kl_div(input, target, reduction=reduction, log_target=True)  # noqa: E731
        g.case(f"logTarget.{reduction}", run, {"input": input, "target": target.log()}, reduction=reduction, logTarget=True)
    certain = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])
    run = lambda input, target: F.kl_div(input, target, reduction="batchmean")  # noqa: E731
    g.case("certain", run, {"input": input[:2], "target": certain}, frozen=["target"], reduction="batchmean")
    return g


def margin_losses():
    """marginRanking of vectors, cosineEmbedding of rows; a row of zeros has no direction."""
    g = Golden("marginLosses")
    signs = torch.tensor([1.0, -1, 1, -1, -1])
    for margin in (0.0, 0.4):
        for reduction in REDUCTIONS:
            run = lambda input, other, target: F.margin_ranking_loss(input, other, target, margin=margin, reduction=reduction)  # noqa: E731
            inputs = {"input": g.randn(5), "other": g.randn(5), "target": signs}
            g.case(f"marginRanking.{margin}.{reduction}", run, inputs, frozen=["target"], margin=margin, reduction=reduction)
            run = lambda input, other, target: F.cosine_embedding_loss(input, other, target, margin=margin, reduction=reduction)  # noqa: E731
            inputs = {"input": g.randn(5, 3), "other": g.randn(5, 3), "target": signs}
            g.case(f"cosineEmbedding.{margin}.{reduction}", run, inputs, frozen=["target"], margin=margin, reduction=reduction)
    one = {"input": g.randn(3), "other": g.randn(3), "target": torch.tensor(-1)}
    g.case("cosineEmbedding.one", lambda input, other, target: F.cosine_embedding_loss(input, other, target, margin=-0.9), one, margin=-0.9)
    rows = {"input": torch.tensor([[0.0, 0, 0], [1, 2, 2]]), "other": torch.tensor([[1.0, 2, 2], [2, 1, 2]]), "target": torch.tensor([1, 1])}
    g.case("cosineEmbedding.zero", lambda input, other, target: F.cosine_embedding_loss(input, other, target), rows, frozen=["input", "other"])
    return g


ALL = [cross_entropy, nll, bce_with_logits, mse, pair_losses, kl_div, margin_losses]
