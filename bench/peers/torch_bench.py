"""PyTorch on the cpu: the same job, the same numbers to start from (data.ts) and the same line of JSON (child.ts)."""

import json
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

MASK = 0xFFFFFFFF


def values(name, count, deviation=0.05):
    seed = 0x811C9DC5
    for character in name:
        seed = ((seed ^ ord(character)) * 0x01000193) & MASK
    h = ((torch.arange(1, count + 1) * 0x9E3779B1) & MASK) ^ seed
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK
    h = h ^ (h >> 16)
    return ((h.double() / 2**32 - 0.5) * (2 * 3**0.5 * deviation)).float()


def given(name, *shape):
    return values(name, torch.Size(shape).numel(), 1.0).reshape(shape)


def ids(count, limit):
    return (torch.arange(count) * 7919 + 13) % limit


def fill(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(0 if "bias" in name else 1)
                continue
            outputs, inputs = parameter.shape
            numbers = values(name, outputs * inputs)
            table = name in ("embedding.weight", "position")
            parameter.copy_(numbers.reshape(outputs, inputs) if table else numbers.reshape(inputs, outputs).T)


def training(model, x, sizes):
    fill(model)
    targets = ids(sizes["batch"], sizes["classes"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden)
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(hidden)
        self.linear1 = nn.Linear(hidden, 2 * hidden)
        self.linear2 = nn.Linear(2 * hidden, hidden)

    def forward(self, x):
        normed = self.norm1(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, *, length, hidden, heads, layers, vocabulary, classes, **_):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden) if vocabulary else nn.Identity()
        self.position = nn.Parameter(torch.zeros(length, hidden))
        self.layers = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, x):
        x = self.embedding(x) + self.position
        for block in self.layers:
            x = block(x)
        return self.classifier(self.norm(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind, hidden, classes):
        super().__init__()
        both = kind == "bidirectional"
        self.rnn = nn.LSTM(hidden, hidden) if kind == "lstm" else nn.GRU(hidden, hidden, bidirectional=both)
        self.classifier = nn.Linear((1 + both) * hidden, classes)

    def forward(self, x):
        _, state = self.rnn(x)
        last = state[0] if isinstance(state, tuple) else state
        return self.classifier(last.transpose(0, 1).flatten(1))


def forward(compute):
    @torch.no_grad()
    def step():
        compute()

    return step


def step_of(workload, s):
    if workload == "matmul":
        a, b = given("a", s["n"], s["n"]), given("b", s["n"], s["n"])
        return forward(lambda: a @ b)
    if workload == "eltwise":
        x = given("x", s["n"])
        return forward(lambda: F.gelu(x * 1.1 + 0.1, approximate="tanh"))
    if workload in ("softmax", "layernorm"):
        x = given("x", s["rows"], s["columns"])
        layer = nn.LayerNorm(s["columns"]) if workload == "layernorm" else nn.Softmax(-1)
        return forward(lambda: layer(x))
    if workload == "mlp":
        first, second = nn.Linear(s["inputs"], s["hidden"]), nn.Linear(s["hidden"], s["hidden"])
        model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(s["hidden"], s["classes"]))
        return training(model, given("x", s["batch"], s["inputs"]), s)
    if workload in ("tcore", "transformer"):
        shape = (s["batch"], s["length"])
        x = ids(shape[0] * shape[1], s["vocabulary"]).reshape(shape) if s["vocabulary"] else given("x", *shape, s["hidden"])
        return training(Transformer(**s), x, s)
    return training(Recurrent(workload, s["hidden"], s["classes"]), given("x", s["length"], s["batch"], s["hidden"]), s)


def main(job):
    torch.set_num_threads(2 if job["engine"].endswith("2t") else 1)
    step = step_of(job["workload"], job["sizes"])
    losses = []

    def timed():
        start = time.perf_counter()
        losses.append(step())
        return 1000 * (time.perf_counter() - start)

    first = timed()
    warm = 0
    for _ in range(1, job["warm"]):
        if warm < job["slowMs"]:
            warm = timed()
    times = []
    needed = job["runs"] if warm < job["slowMs"] else 1
    while len(times) < needed or (sum(times) < job["minMs"] and len(times) < 60):
        times.append(timed())
    # In KiB on Linux, in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    result = {"ms": statistics.median(times), "minMs": min(times), "firstMs": first, "steps": len(times)}
    result["rssMiB"] = round(peak)
    if losses[0] is not None:
        result["firstLoss"] = losses[0]
        if len(losses) > 4:
            result["loss"] = losses[4]
    print(json.dumps(result))


main(json.loads(sys.argv[1]))
