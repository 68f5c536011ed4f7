"""Optimizers (10 steps with given gradients), clipping, learning-rate schedules."""

import math

import torch

from recorder import Golden

STEPS = 10


def trajectory(g, case, make, gradients, lrs=None, absent=()):
    """Steps two parameters, w and b, with stored gradients; stores their values after every step.

    lrs: the learning rate set before each step. absent: steps at which b has no gradient.
    """
    w, b = g.randn(3, 2), g.randn(3)
    g.put(case, "param.w", w)
    g.put(case, "param.b", b)
    w, b = torch.nn.Parameter(w.clone()), torch.nn.Parameter(b.clone())
    optimizer = make(w, b)
    values = {"w": [], "b": []}
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if lrs is None else lrs[step]
        w.grad = gradients["w"][step].clone()
        b.grad = None if step in absent else gradients["b"][step].clone()
        optimizer.step()
        values["w"].append(w.detach().clone())
        values["b"].append(b.detach().clone())
    for name in ("w", "b"):
        g.put(case, f"gradients.{name}", gradients[name])
        g.put(case, f"trajectory.{name}", torch.stack(values[name]))
    if lrs is not None:
        g.options(case, lrs=lrs)
    if absent:
        g.options(case, absent=list(absent))


def optimizer_cases(g, cls, cases):
    """cases: name -> (torch options, camelCase options). Adds groups, a changing lr, absent gradients."""
    names = {"weight_decay": "weightDecay"}
    camel = lambda options: {names.get(key, key): value for key, value in options.items()}  # noqa: E731
    gradients = {"w": g.randn(STEPS, 3, 2), "b": g.randn(STEPS, 3) * 0.1}
    gradients["b"][:, 1] = 0  # an element that never has a gradient
    for name, options in cases.items():
        trajectory(g, name, lambda w, b: cls([w, b], **options), gradients)
        g.options(name, **camel(options))
    base = cases["usual"]
    first, second = {"lr": 0.05, "weight_decay": 0.2}, {"weight_decay": 0.0}
    trajectory(g, "groups", lambda w, b: cls([{"params": [w]} | first, {"params": [b]} | second], **base), gradients)
    g.options("groups", groups=[camel(first), camel(second)], **camel(base))
    lrs = [0.1 * (step + 1) / 5 if step < 5 else 0.1 * (STEPS - step) / 5 for step in range(STEPS)]
    trajectory(g, "schedule", lambda w, b: cls([w, b], **base), gradients, lrs=lrs)
    g.options("schedule", **camel(base))
    trajectory(g, "absent", lambda w, b: cls([w, b], **base), gradients, absent=(0, 4, 5))
    g.options("absent", **camel(base))


def adam():
    g = Golden("adam")
    optimizer_cases(g, torch.optim.Adam, {
        "usual": {"lr": 0.01},
        "betas": {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
        "weightDecay": {"lr": 0.01, "weight_decay": 0.3},
    })  # fmt: skip
    return g


def adamw():
    g = Golden("adamw")
    optimizer_cases(g, torch.optim.AdamW, {
        "usual": {"lr": 0.01},
        "betas": {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
        "weightDecay": {"lr": 0.01, "weight_decay": 0.3},
    })  # fmt: skip
    # The published vector.
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.AdamW([w], lr=0.01, weight_decay=0.01)
    for gradient, expected in [([0.1, -0.3], [0.989900001, -1.989800000333]), ([0.2, 0.1], [0.980149191352, -1.985598834793])]:
        w.grad = torch.tensor(gradient)
        optimizer.step()
        torch.testing.assert_close(w.detach(), torch.tensor(expected), rtol=1e-11, atol=0)
    return g


def sgd():
    g = Golden("sgd")
    optimizer_cases(g, torch.optim.SGD, {
        "plain": {"lr": 0.1},
        "usual": {"lr": 0.1, "momentum": 0.9},
        "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        "weightDecay": {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3},
        "dampening": {"lr": 0.1, "momentum": 0.9, "dampening": 0.4},
    })  # fmt: skip
    return g


def clipping():
    g = Golden("clipping")
    gradients = {"w": g.randn(3, 2), "b": g.randn(3)}
    for name, max_norm, norm_type in [("norm2", 1.0, 2.0), ("norm2.loose", 100.0, 2.0), ("norm1", 1.0, 1.0), ("normInf", 0.5, math.inf)]:
        parameters = {key: torch.nn.Parameter(torch.zeros_like(value)) for key, value in gradients.items()}
        for key, value in gradients.items():
            parameters[key].grad = value.clone()
            g.put(name, f"gradients.{key}", value)
        total = torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_norm, norm_type)
        g.put(name, "totalNorm", total)
        for key, parameter in parameters.items():
            g.put(name, f"clipped.{key}", parameter.grad)
        g.options(name, maxNorm=max_norm, normType="inf" if norm_type == math.inf else norm_type)
    parameter = torch.nn.Parameter(torch.zeros(3, 2))
    parameter.grad = gradients["w"].clone()
    torch.nn.utils.clip_grad_value_([parameter], 0.4)
    g.put("value", "gradients.w", gradients["w"])
    g.put("value", "clipped.w", parameter.grad)
    g.options("value", clipValue=0.4)
    return g


def schedules():
    """`lr`[k] is the rate used by step k (from 0), also beyond the last planned step."""
    from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

    g = Golden("schedules")

    def record(case, make, count, **options):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler, rates = make(optimizer), []
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        g.put(case, "lr", torch.tensor(rates))
        g.options(case, lr=0.1, **options)

    # The two formulas of transformers (get_linear_/get_cosine_schedule_with_warmup).
    def linear(warmup, total):
        return lambda step: step / max(1, warmup) if step < warmup else max(0.0, (total - step) / max(1, total - warmup))

    def cosine(warmup, total, cycles):
        def factor(step):
            if step < warmup:
                return step / max(1, warmup)
            progress = (step - warmup) / max(1, total - warmup)
            return max(0.0, 0.5 * (1 + math.cos(math.pi * cycles * 2 * progress)))

        return factor

    for name, warmup, total in [("linear", 3, 12), ("linear.noWarmup", 0, 8), ("linear.onlyWarmup", 5, 5)]:
        record(name, lambda o: LambdaLR(o, linear(warmup, total)), total + 3, warmupSteps=warmup, totalSteps=total)
    for name, warmup, total, cycles in [("cosine", 3, 12, 0.5), ("cosine.noWarmup", 0, 8, 0.5), ("cosine.cycles", 2, 12, 1.5)]:
        record(
            name, lambda o: LambdaLR(o, cosine(warmup, total, cycles)), total + 1,
            warmupSteps=warmup, totalSteps=total, numCycles=cycles,
        )  # fmt: skip
    record("cosineAnnealing", lambda o: CosineAnnealingLR(o, T_max=6), 16, tMax=6)
    record("cosineAnnealing.etaMin", lambda o: CosineAnnealingLR(o, T_max=6, eta_min=0.02), 16, tMax=6, etaMin=0.02)
    return g


ALL = [adam, adamw, sgd, clipping, schedules]
