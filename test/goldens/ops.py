"""Ops whose semantics are subtle: ties, zeros, repeated indices, rounding, corrections, special values."""

import torch

from recorder import Golden

INF, NAN = torch.inf, torch.nan


def variance():
    g = Golden("variance")
    x = g.randn(3, 4, 2) + 2
    for name in ("var", "std"):
        fn = getattr(torch, name)
        for correction in (0, 1, 2):
            g.case(f"{name}.c{correction}", lambda input: fn(input, dim=1, correction=correction), {"input": x}, dim=1, correction=correction)
        g.case(f"{name}.all", lambda input: fn(input), {"input": x})
        g.case(f"{name}.dims", lambda input: fn(input, dim=(0, 2), keepdim=True), {"input": x}, dim=[0, 2], keepdim=True)
    # Far from zero E[x^2] - E[x]^2 has no digits left; std of a constant row has gradient 0, not NaN.
    g.case("var.far", lambda input: torch.var(input, dim=1), {"input": torch.tensor([[4096.0, 4096.25, 4096.5], [-8192, -8192, -8190]])}, dim=1)
    g.case("std.constant", lambda input: torch.std(input, dim=1), {"input": torch.tensor([[3.0, 3, 3], [1, 2, 4]])}, dim=1)
    return g


def logsumexp():
    g = Golden("logsumexp")
    x = g.randn(2, 3, 4)
    g.case("dim1", lambda input: torch.logsumexp(input, 1), {"input": x}, dim=1)
    g.case("dims", lambda input: torch.logsumexp(input, (0, 2), keepdim=True), {"input": x}, dim=[0, 2], keepdim=True)
    far = torch.tensor([[1000.0, 999, -1000], [-1000, -1001, -1000], [-INF, 1, 2]])
    g.case("far", lambda input: torch.logsumexp(input, 1), {"input": far}, dim=1)
    infinite = torch.tensor([[-INF, -INF], [INF, 1], [NAN, 1]])
    g.case("infinite", lambda input: torch.logsumexp(input, 1), {"input": infinite}, frozen=["input"], dim=1)
    return g


def prod():
    """The gradient is the product of the others: right with no zero, one zero and two zeros."""
    g = Golden("prod")
    x = g.randn(3, 4)
    x[1, 2] = 0
    x[2, 0] = x[2, 3] = 0
    g.case("dim1", lambda input: torch.prod(input, 1), {"input": x}, dim=1)
    g.case("dim0", lambda input: torch.prod(input, 0, keepdim=True), {"input": x}, dim=0, keepdim=True)
    g.case("all", lambda input: torch.prod(input), {"input": g.randn(2, 3)})
    g.case("allOneZero", lambda input: torch.prod(input), {"input": torch.tensor([[2.0, 0, -3], [1, 0.5, 4]])})
    g.case("allTwoZeros", lambda input: torch.prod(input), {"input": torch.tensor([[2.0, 0, -3], [1, 0, 4]])})
    return g


def norm():
    """Gradient 0 where the norm, or for p = 1 the element, is 0; the infinity norm shares it among ties."""
    g = Golden("norm")
    x = torch.tensor([[3.0, -4, 0, 1], [0, 0, 0, 0], [-2, 2, 1, -2]])
    for name, p in [("1", 1.0), ("2", 2.0), ("inf", INF)]:
        stored = "inf" if p == INF else p
        g.case(f"p{name}.dim1", lambda input: torch.linalg.vector_norm(input, p, dim=1), {"input": x}, p=stored, dim=1)
        g.case(f"p{name}.all", lambda input: torch.linalg.vector_norm(input, p), {"input": x}, p=stored)
    return g


def extrema():
    """max and min over everything and amax/amin share the gradient among ties; max(dim) gives it to the first."""
    g = Golden("extrema")
    x = torch.tensor([[1.0, 3, 3, -2], [5, 5, 5, 0], [-1, -1, -4, -4]])
    for name in ("max", "min"):
        fn, shared = getattr(torch, name), getattr(torch, f"a{name}")

        def by_dim(input):
            values, indices = fn(input, 1)
            first = torch.stack([(row == value).nonzero()[0, 0] for row, value in zip(input, values)])
            assert torch.equal(first, indices)
            return {"output": values, "indices": indices}

        g.case(f"{name}.all", lambda input: fn(input), {"input": x})
        g.case(f"{name}.dim1", by_dim, {"input": x}, dim=1)
        g.case(f"a{name}.dim1", lambda input: shared(input, 1, keepdim=True), {"input": x}, dim=1, keepdim=True)
        special = torch.tensor([[1.0, NAN, 3], [INF, -INF, 2], [NAN, -INF, INF]])
        g.case(f"{name}.special", lambda input: shared(input, 1), {"input": special}, frozen=["input"], dim=1)
        other = torch.tensor([[1.0, 2, 4, -2], [5, 6, 5, -1], [-1, -2, -4, -4]])
        pairwise = getattr(torch, f"{name}imum")
        g.case(f"{name}imum", lambda input, other: pairwise(input, other), {"input": x, "other": other})
    return g


def indexing():
    """Repeated indices add up in the gradient."""
    g = Golden("indexing")
    x = g.randn(3, 4)
    index = torch.tensor([[0, 0, 3], [2, 1, 2], [3, 3, 3]])
    g.case("gather.dim1", lambda input, index: torch.gather(input, 1, index), {"input": x, "index": index}, dim=1)
    rows = torch.tensor([[0, 2, 1, 1], [2, 2, 0, 2]])
    g.case("gather.dim0", lambda input, index: torch.gather(input, 0, index), {"input": x, "index": rows}, dim=0)
    g.case("indexSelect.dim0", lambda input, index: torch.index_select(input, 0, index), {"input": x, "index": torch.tensor([2, 0, 2, 2])}, dim=0)
    g.case("indexSelect.dim1", lambda input, index: torch.index_select(input, 1, index), {"input": x, "index": torch.tensor([3, 3])}, dim=1)
    src = g.randn(3, 3)
    run = lambda input, index, src: torch.scatter_add(input, 1, index, src)  # noqa: E731
    g.case("scatterAdd.dim1", run, {"input": x, "index": index, "src": src}, dim=1)
    run = lambda input, index, src: torch.scatter_add(input, 0, index, src)  # noqa: E731
    g.case("scatterAdd.dim0", run, {"input": x, "index": rows, "src": g.randn(2, 4)}, dim=0)
    return g


def pointwise():
    """Values over the whole range, and the gradient conventions at kinks, bounds and zeros."""
    g = Golden("pointwise")
    half = torch.tensor([1e-8, 1e-3, 0.1, 0.4, 0.84375, 1, 1.25, 1.7, 2.2, 2.857, 3.5, 4.5, 5.9, 6, 10, 1000])
    wide = torch.cat([-half.flip(0), torch.zeros(1), half])
    g.case("erf", lambda input: torch.erf(input), {"input": wide})
    g.case("erf.special", lambda input: torch.erf(input), {"input": torch.tensor([INF, -INF, NAN])}, frozen=["input"])
    halves = torch.tensor([-2.5, -1.5, -0.5, -0.2, 0, 0.5, 0.500001, 1.5, 2.5, 3.5, 4.5, 8388609.0, INF, -INF, NAN])
    g.case("round", lambda input: torch.round(input), {"input": halves}, frozen=["input"])
    dividends = torch.tensor([5.0, -5, 5, -5, 5.5, -0.25, 6, -6, 0, 7.25])
    divisors = torch.tensor([3.0, 3, -3, -3, 2, 1, 3, 3, 5, -2.5])
    g.case("remainder", lambda input, other: torch.remainder(input, other), {"input": dividends, "other": divisors})

    kinks = torch.tensor([-2.0, -1, 0, 1, 2])
    g.case("abs.kinks", lambda input: input.abs(), {"input": kinks})
    g.case("sign.kinks", lambda input: input.sign(), {"input": kinks})
    g.case("relu.kinks", lambda input: input.relu(), {"input": kinks})
    g.case("clamp.bounds", lambda input: input.clamp(-1, 1), {"input": kinks}, min=-1, max=1)
    g.case("clampMin.bounds", lambda input: input.clamp(min=-1), {"input": kinks}, min=-1)
    positive = torch.tensor([0.5, 2, 1, 3, 1e-3])
    g.case("pow.tensors", lambda input, exponent: input**exponent, {"input": positive, "exponent": torch.tensor([2.0, -1.5, 7, 0, 0.5])})
    for name, value in [("two", 2), ("three", 3), ("zero", 0), ("minusTwo", -2), ("one", 1)]:
        x = torch.tensor([-2.0, -0.5, 1, 3]) if value < 0 else torch.tensor([-2.0, -0.5, 0, 1, 3])
        g.case(f"pow.{name}", lambda input: input**value, {"input": x}, exponent=value)
    tiny = torch.tensor([-1e-12, 1e-12, 1e-9, -1e-5, 0, 0.5, 3])
    g.case("log1p", lambda input: torch.log1p(input), {"input": tiny})
    g.case("expm1", lambda input: torch.expm1(input), {"input": tiny})
    mask = torch.tensor([True, False, True, False])
    run = lambda mask, input, other: torch.where(mask, input, other)  # noqa: E731
    g.case("where", run, {"mask": mask, "input": g.randn(2, 4), "other": g.randn(2, 1)})
    g.case("maskedFill", lambda input, mask: input.masked_fill(mask, -7), {"input": g.randn(2, 4), "mask": mask}, value=-7)
    return g


ALL = [variance, logsumexp, prod, norm, extrema, indexing, pointwise]
