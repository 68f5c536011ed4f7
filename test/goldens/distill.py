"""Distillation: soft targets, hints and DistilBERT's loss, each written as its publication or reference code has it."""

import torch
from torch import nn
from torch.nn import functional as F

from recorder import Golden


def soft_targets():
    """kl_div of softened distributions as Hugging Face's distiller has it; the cross-entropy adds the teacher's entropy."""
    g = Golden("softTargets")
    teacher, mask = g.randn(2, 3, 5) * 2, torch.tensor([[True, True, False], [True, False, False]])
    for squared in (False, True):
        scale = lambda T: T * T if squared else 1  # noqa: E731

        def kl(student, teacher, T=2.0, reduction="batchmean", scale=scale):
            logs, target = F.log_softmax(student / T, -1), F.softmax(teacher / T, -1)
            return F.kl_div(logs.flatten(0, -2), target.flatten(0, -2), reduction=reduction) * scale(T)

        inputs = {"student": g.randn(2, 3, 5), "teacher": teacher}
        for reduction in ("batchmean", "mean", "sum"):
            run = lambda student, teacher, kl=kl, reduction=reduction: kl(student, teacher, reduction=reduction)  # noqa: E731
            options = {"divergence": "kl", "temperature": 2, "temperatureSquared": squared, "reduction": reduction}
            g.case(f"kl.{squared}.{reduction}", run, inputs, frozen=["teacher"], **options)
        chosen = lambda student, teacher, mask, kl=kl: kl(student[mask], teacher[mask])  # noqa: E731
        options = {"divergence": "kl", "temperature": 2, "temperatureSquared": squared}
        g.case(f"kl.{squared}.masked", chosen, inputs | {"mask": mask}, frozen=["teacher"], **options)

        def cross(student, teacher, scale=scale):
            logs = F.log_softmax(student / 3, -1).flatten(0, -2)
            return F.cross_entropy(logs, F.softmax(teacher / 3, -1).flatten(0, -2)) * scale(3)

        g.case(f"cross.{squared}", cross, inputs, frozen=["teacher"], temperature=3, temperatureSquared=squared)
    each = lambda student, teacher: -(F.softmax(teacher, -1) * F.log_softmax(student, -1)).sum(-1)  # noqa: E731
    g.case("cross.none", each, {"student": g.randn(2, 3, 5), "teacher": teacher}, frozen=["teacher"], temperature=1, reduction="none")
    # A class that the teacher rules out, and one that both do.
    hard = torch.tensor([[0.0, 1, -torch.inf], [2, -torch.inf, 0]])
    run = lambda student, teacher: F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="batchmean")  # noqa: E731
    g.case("kl.certain", run, {"student": g.randn(2, 3), "teacher": hard}, frozen=["teacher"], divergence="kl", temperature=1)
    return g


def hints():
    """TextBrewer's hidden_mse, cos, pkd and fsp with their masks; attention transfer as its authors' code has it."""
    g = Golden("hints")
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    states = lambda width=5: {"student": g.randn(2, 4, width), "teacher": g.randn(2, 4, 5)}  # noqa: E731

    def mse(student, teacher, mask=None):
        if mask is None:
            return F.mse_loss(student, teacher)
        each = F.mse_loss(student, teacher, reduction="none") * mask.unsqueeze(-1)
        return each.sum() / (mask.sum() * student.shape[-1])

    def cosine(student, teacher, mask=None):
        kept = mask.bool() if mask is not None else torch.ones(student.shape[:2]).bool()
        return F.cosine_embedding_loss(student[kept], teacher[kept], torch.ones(int(kept.sum())))

    def pkd(student, teacher):
        return (F.normalize(student[:, 0], dim=1) - F.normalize(teacher[:, 0], dim=1)).pow(2).sum(-1).mean()

    for name, fn in {"mse": mse, "cosine": cosine}.items():
        g.case(f"{name}.plain", fn, states(), frozen=["teacher"])
        g.case(f"{name}.masked", fn, states() | {"mask": mask}, frozen=["teacher"])
    g.case("pkd", pkd, states(), frozen=["teacher"])

    def attention(student, teacher, mask=None, dim=1, p=2):
        weight = 1 if mask is None else mask
        maps = [F.normalize((x.abs().pow(p).mean(dim) * weight).flatten(1)) for x in (student, teacher)]
        return (maps[0] - maps[1]).pow(2).mean()

    images = {"student": g.randn(2, 3, 4, 2), "teacher": g.randn(2, 6, 4, 2)}
    g.case("attention.images", attention, images, frozen=["teacher"])
    cubed = lambda student, teacher: attention(student, teacher, p=3)  # noqa: E731
    g.case("attention.cubed", cubed, images, frozen=["teacher"], power=3)
    tokens = lambda student, teacher, mask: attention(student, teacher, mask, dim=-1)  # noqa: E731
    g.case("attention.tokens", tokens, states(3) | {"mask": mask}, frozen=["teacher"], channelDim=-1)

    def weights(student, teacher, mask=None):
        if mask is None:
            return F.mse_loss(student, teacher)
        mask = mask.double().unsqueeze(1).expand(-1, student.size(1), -1)
        pairs = mask.unsqueeze(-1) * mask.unsqueeze(2)
        return (F.mse_loss(student, teacher, reduction="none") * pairs).sum() / mask.sum(2).pow(2).sum()

    four = lambda heads: F.softmax(g.randn(2, heads, 4, 4), -1)  # noqa: E731
    g.case("weights.plain", weights, {"student": four(2), "teacher": four(2)}, frozen=["teacher"])
    g.case("weights.masked", weights, {"student": four(2), "teacher": four(2), "mask": mask}, frozen=["teacher"])
    heads = lambda student, teacher, mask: weights(student.mean(1, True), teacher.mean(1, True), mask)  # noqa: E731
    g.case("weights.heads", heads, {"student": four(2), "teacher": four(3), "mask": mask}, frozen=["teacher"], heads="mean")

    def fsp(student, studentNext, teacher, teacherNext, mask=None):
        mask = torch.ones(2, 4) if mask is None else mask
        gram = lambda a, b: torch.bmm((a * mask.unsqueeze(-1)).mT, b * mask.unsqueeze(-1)) / mask.sum(1)[:, None, None]  # noqa: E731
        return F.mse_loss(gram(student, studentNext), gram(teacher, teacherNext))

    pairs = {"student": g.randn(2, 4, 3), "studentNext": g.randn(2, 4, 5), "teacher": g.randn(2, 4, 3), "teacherNext": g.randn(2, 4, 5)}
    g.case("fsp.plain", fsp, pairs, frozen=["teacher", "teacherNext"])
    g.case("fsp.masked", fsp, pairs | {"mask": mask}, frozen=["teacher", "teacherNext"])

    embeddings = lambda a, b: F.mse_loss(F.normalize(a, dim=-1), F.normalize(b, dim=-1))  # noqa: E731
    g.case("embeddings", embeddings, {"a": g.randn(3, 4), "b": g.randn(3, 4)})
    return g


class Regressors(nn.Module):
    def __init__(self):
        super().__init__()
        self.regressors = nn.ModuleList(nn.ModuleDict({"linear": nn.Linear(3, 5)}) for _ in range(2))


def hint_layers():
    """Student states 1 and 2 through tanh regressors, beside the teacher's states 2 and 4."""
    g = Golden("hintLayers")
    layer = g.fill(Regressors())
    inputs = {f"student{i}": g.randn(2, 4, 3) for i in range(3)} | {f"teacher{i}": g.randn(2, 4, 5) for i in range(5)}
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])

    def run(mask, **states):
        mapped = [torch.tanh(layer.regressors[i]["linear"](states[f"student{i + 1}"])) for i in range(2)]
        parts = [F.mse_loss(mapped[i][mask], states[f"teacher{2 * i + 2}"][mask]) for i in range(2)]
        # The embeddings of the student take no part; a 0 keeps their gradient from being missing.
        return parts[0] + 0.5 * parts[1] + 0 * states["student0"].sum()

    matches = [{"student": 1, "teacher": 2}, {"student": 2, "teacher": 4, "weight": 0.5}]
    frozen = [name for name in inputs if name.startswith("teacher")]
    options = {"matches": matches, "studentSize": 3, "teacherSize": 5, "activation": "tanh"}
    g.case("mse", run, inputs | {"mask": mask}, layer, frozen=frozen, **options)
    return g


def distilbert_loss():
    """`Distiller.step` of Hugging Face's research project, with its default weights and with all four."""
    g = Golden("distilBertLoss")
    B, L, V, E = 2, 4, 7, 3
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, 3, 6, -100], [0, -100, -100, -100]])

    def run(logits, hidden, teacherLogits, teacherHidden, mask, labels, T=2.0, alphas=(5.0, 2.0, 1.0, 0.0), restrict=False):
        kept = (labels > -1) if restrict else mask.bool()
        s, t = logits[kept], teacherLogits[kept]
        loss = alphas[0] * F.kl_div(F.log_softmax(s / T, -1), F.softmax(t / T, -1), reduction="batchmean") * T**2
        loss = loss + alphas[1] * F.cross_entropy(logits.view(-1, V), labels.view(-1))
        tokens = mask.bool()
        loss = loss + alphas[2] * F.cosine_embedding_loss(hidden[tokens], teacherHidden[tokens], torch.ones(int(tokens.sum())))
        return loss + alphas[3] * F.mse_loss(s, t, reduction="sum") / s.size(0)

    inputs = {
        "logits": g.randn(B, L, V), "hidden": g.randn(B, L, E), "teacherLogits": g.randn(B, L, V),
        "teacherHidden": g.randn(B, L, E), "mask": mask, "labels": labels,
    }  # fmt: skip
    frozen = ["teacherLogits", "teacherHidden"]
    g.case("default", run, inputs, frozen=frozen)
    weighted = lambda **k: run(**k, T=3.0, alphas=(0.5, 0.25, 2.0, 0.125), restrict=True)  # noqa: E731
    options = {"temperature": 3, "alphaSoft": 0.5, "alphaMaskedLM": 0.25, "alphaCosine": 2, "alphaLogits": 0.125, "onlyMasked": True}
    g.case("weighted", weighted, inputs, frozen=frozen, **options)
    return g


ALL = [soft_targets, hints, hint_layers, distilbert_loss]
