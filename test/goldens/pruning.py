"""torch.nn.utils.prune: masks of each method, one pass after another, and the gradient that reaches the original."""

import torch
from torch.nn.utils import prune

from recorder import Golden


def pruning():
    g = Golden("pruning")

    def passes(case, shape, *steps, **options):
        """Prunes one Linear's weight step by step; stores every mask and the last gradient."""
        layer = g.fill(torch.nn.Linear(shape[1], shape[0], bias=False))
        x = g.randn(4, shape[1])
        g.put(case, "weight", layer.weight)
        g.put(case, "input", x)
        for i, step in enumerate(steps):
            step(layer)
            g.put(case, f"mask.{i}", layer.weight_mask)
        output = layer(x)
        cotangent = g.randn(*output.shape)
        (output * cotangent).sum().backward()
        g.put(case, "output", output)
        g.put(case, "cotangent", cotangent)
        g.put(case, "grad", layer.weight_orig.grad)
        g.options(case, **options)

    def l1(amount):
        return lambda m: prune.l1_unstructured(m, "weight", amount)

    def ln(amount, n, dim):
        return lambda m: prune.ln_structured(m, "weight", amount, n=n, dim=dim)

    passes("l1", (5, 7), l1(0.3), steps=[{"amount": {"fraction": 0.3}}])
    passes("l1Twice", (6, 6), l1(0.5), l1(0.5), steps=[{"amount": {"fraction": 0.5}}] * 2)
    passes("halfToEven", (1, 8), l1(0.3125), l1(0.5), steps=[{"amount": {"fraction": f}} for f in (0.3125, 0.5)])
    passes("count", (3, 5), l1(4), l1(3), steps=[{"amount": {"count": c}} for c in (4, 3)])
    passes("rows", (6, 4), ln(0.5, 2, 0), ln(0.5, 1, 0),
           steps=[{"amount": {"fraction": 0.5}, "norm": n, "dim": 0} for n in (2, 1)])
    passes("columns", (4, 6), ln(2, float("inf"), 1), l1(0.25), ln(1, 3, -1),
           steps=[{"amount": {"count": 2}, "norm": "inf", "dim": 1}, {"amount": {"fraction": 0.25}},
                  {"amount": {"count": 1}, "norm": 3, "dim": -1}])

    layers = [g.fill(torch.nn.Linear(4, 3)), g.fill(torch.nn.Linear(3, 2))]
    for i, layer in enumerate(layers):
        g.put("global", f"weight.{i}", layer.weight)
    for step, amount in enumerate((0.5, 0.4)):
        prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=amount)
        for i, layer in enumerate(layers):
            g.put("global", f"mask.{step}.{i}", layer.weight_mask)
    g.options("global", amounts=[0.5, 0.4])
    return g


ALL = [pruning]
