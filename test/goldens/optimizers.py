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


def rmsprop():
    g = Golden("rmsprop")
    optimizer_cases(g, torch.optim.RMSprop, {
        "usual": {"lr": 0.01},
        "alpha": {"lr": 0.1, "alpha": 0.8, "eps": 1e-3},
        "weightDecay": {"lr": 0.01, "weight_decay": 0.3},
        "momentum": {"lr": 0.01, "momentum": 0.9},
        "centered": {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "centered": True},
        "centered.momentum": {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "centered": True, "momentum": 0.5, "weight_decay": 0.1},
    })  # fmt: skip
    return g


def ema():
    """The average of a weight after each of some updates."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    g = Golden("ema")
    for case, decay in [("usual", 0.9), ("slow", 0.999)]:
        model = torch.nn.Linear(3, 2, bias=False)
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        weights, averages = g.randn(6, 2, 3), []
        for weight in weights:
            with torch.no_grad():
                model.weight.copy_(weight)
            averaged.update_parameters(model)
            averages.append(averaged.module.weight.detach().clone())
        g.put(case, "weights", weights)
        g.put(case, "averages", torch.stack(averages))
        g.options(case, decay=decay)
    return g


def clipping():
    g = Golden("clipping")
    gradients = {"w": g.randn(3, 2), "b": g.randn(3)}
    for name, max_norm, norm_type in [("norm2", 1.0, 2.0), ("norm2.loose", 100.0, 2.0), ("norm1", 1.0, 1.0), ("norm3", 0.7, 3.0), ("normInf", 0.5, math.inf)]:
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
    from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

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
    record("step", lambda o: StepLR(o, 4), 14, stepSize=4)
    record("step.gamma", lambda o: StepLR(o, 3, gamma=0.5), 14, stepSize=3, gamma=0.5)
    record("multiStep", lambda o: MultiStepLR(o, [2, 5, 5, 9], gamma=0.3), 14, milestones=[2, 5, 5, 9], gamma=0.3)

    for name, cls, torch_options, options in [
        ("oneCycle", torch.optim.SGD, {}, {}),
        ("oneCycle.linear", torch.optim.SGD, {"anneal_strategy": "linear", "pct_start": 0.25}, {"annealStrategy": "linear", "pctStart": 0.25}),
        ("oneCycle.threePhase", torch.optim.SGD, {"three_phase": True, "div_factor": 10.0, "final_div_factor": 100.0}, {"threePhase": True, "divFactor": 10, "finalDivFactor": 100}),
        ("oneCycle.momentum", torch.optim.SGD, {"cycle_momentum": True}, {"cycleMomentum": True}),
        ("oneCycle.beta1", torch.optim.Adam, {"cycle_momentum": True, "base_momentum": 0.8, "max_momentum": 0.9, "three_phase": True}, {"cycleMomentum": True, "baseMomentum": 0.8, "maxMomentum": 0.9, "threePhase": True}),
    ]:  # fmt: skip
        optimizer = cls([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = OneCycleLR(optimizer, max_lr=0.5, total_steps=20, **({"cycle_momentum": False} | torch_options))
        rates, momenta = [], []
        for step in range(20):
            group = optimizer.param_groups[0]
            rates.append(group["lr"])
            momenta.append(group["betas"][0] if "betas" in group else group["momentum"])
            optimizer.step()
            if step < 19:
                scheduler.step()
        g.put(name, "lr", torch.tensor(rates))
        g.put(name, "momentum", torch.tensor(momenta))
        g.options(name, maxLr=0.5, totalSteps=20, **options)

    # A loss that falls, stalls, falls a little and goes up; `lr`[k] is the rate after metric k.
    metrics = [1.0, 0.8, 0.79995, 0.8, 0.81, 0.7, 0.7, 0.69, 0.6999, 0.71, 0.72, 0.7, 0.7, 0.7, 0.69999, 0.65, 0.66, 0.67, 0.68, 0.69]
    for name, torch_options, options in [
        ("plateau", {"patience": 2}, {"patience": 2}),
        ("plateau.cooldown", {"patience": 1, "cooldown": 2, "factor": 0.5, "min_lr": 0.02}, {"patience": 1, "cooldown": 2, "factor": 0.5, "minLr": 0.02}),
        ("plateau.max", {"mode": "max", "patience": 3, "threshold": 0.05}, {"mode": "max", "patience": 3, "threshold": 0.05}),
        ("plateau.abs", {"threshold": 0.05, "threshold_mode": "abs", "patience": 1}, {"threshold": 0.05, "thresholdMode": "abs", "patience": 1}),
        ("plateau.maxAbs", {"mode": "max", "threshold": 0.005, "threshold_mode": "abs", "patience": 0, "eps": 0.001}, {"mode": "max", "threshold": 0.005, "thresholdMode": "abs", "patience": 0, "eps": 0.001}),
    ]:  # fmt: skip
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler, rates = ReduceLROnPlateau(optimizer, **torch_options), []
        for value in metrics:
            scheduler.step(value)
            rates.append(optimizer.param_groups[0]["lr"])
        g.put(name, "lr", torch.tensor(rates))
        g.options(name, lr=0.1, metrics=metrics, **options)
    return g


ALL = [adam, adamw, sgd, rmsprop, ema, clipping, schedules]
