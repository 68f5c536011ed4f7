"""The published study's GRU models, and two short training runs.

The study runs its recurrent layers over the padding and masks only the attention: the `study` cases.
The `masked` cases give the mask to the recurrent layers as well, as right-padded lengths, so that
padding changes nothing.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recorder import Golden


def run_gru(rnn, input, hidden, lengths):
    if lengths is None:
        return rnn(input, hidden)
    packed = pack_padded_sequence(input, lengths, batch_first=True, enforce_sorted=False)
    output, hidden = rnn(packed, hidden)
    return pad_packed_sequence(output, batch_first=True, total_length=input.shape[1])[0], hidden


class Encoder(nn.Module):
    """Embedding, bidirectional GRU, directions summed: (B, L) -> outputs (B, L, H), hidden (1, B, H)."""

    def __init__(self, vocabulary, embedding, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.rnn = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)

    def forward(self, ids, hidden=None, lengths=None):
        output, hidden = run_gru(self.rnn, self.embedding(ids), hidden, lengths)
        forward, backward = output.chunk(2, dim=2)
        return forward + backward, hidden.sum(0, keepdim=True)


class SoftAttention(nn.Module):
    """a = softmax over L of sum(V tanh(W [input; hidden[-1]])); returns a * input (not summed) and a."""

    def __init__(self, hidden):
        super().__init__()
        self.W = nn.Linear(2 * hidden, hidden)
        self.V = nn.Linear(hidden, hidden)

    def forward(self, input, hidden, mask=None):
        query = hidden[-1][:, None].expand(-1, input.shape[1], -1)
        scores = self.V(torch.tanh(self.W(torch.cat([input, query], dim=2)))).sum(dim=2, keepdim=True)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None], -torch.inf)
        attention = scores.softmax(dim=1)
        return attention * input, attention


class DecoderAttention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.mlp_attn = SoftAttention(hidden)
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, input, hidden, mask=None, lengths=None):
        attended, _ = self.mlp_attn(input, hidden, mask)
        return run_gru(self.rnn, attended, hidden, lengths)


class EncoderDecoder(nn.Module):
    """(B, L) -> first output (B, H) and hidden (1, B, H)."""

    def __init__(self, vocabulary, embedding, hidden, encoder_only=False):
        super().__init__()
        self.encoder = Encoder(vocabulary, embedding, hidden)
        self.decoder = None if encoder_only else DecoderAttention(hidden)

    def forward(self, ids, mask=None, lengths=None):
        output, hidden = self.encoder(ids, lengths=lengths)
        if self.decoder is not None:
            output, hidden = self.decoder(output, hidden, mask, lengths)
        return output[:, 0], hidden


IDS = torch.tensor([[3, 7, 1, 5, 0], [2, 9, 0, 0, 0], [4, 4, 6, 8, 1]])
MASK = IDS != 0
LENGTHS = MASK.sum(1)
SIZES = {"vocabularySize": 10, "embeddingSize": 3, "hiddenSize": 2}


def pair(names, result):
    return dict(zip(names, result))


def encoder():
    g = Golden("encoder")
    model = g.fill(Encoder(10, 3, 2))
    run = lambda **inputs: pair(["output", "hidden"], model(inputs["ids"], inputs.get("h0"), inputs.get("lengths")))  # noqa: E731
    g.case("study", run, {"ids": IDS}, model, **SIZES)
    g.case("study.h0", run, {"ids": IDS, "h0": g.randn(2, 3, 2)}, model, **SIZES)
    g.case("masked", lambda ids, mask: pair(["output", "hidden"], model(ids, None, LENGTHS)), {"ids": IDS, "mask": MASK}, model, **SIZES)
    return g


def soft_attention():
    g = Golden("softAttention")
    model = g.fill(SoftAttention(3))
    input, hidden = g.randn(3, 5, 3), g.randn(2, 3, 3)  # of two layers the last one is the query
    holes = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    run = lambda input, hidden, mask=None: pair(["output", "attention"], model(input, hidden, mask))  # noqa: E731
    g.case("plain", run, {"input": input, "hidden": hidden}, model, hiddenSize=3)
    g.case("masked", run, {"input": input, "hidden": hidden, "mask": holes}, model, hiddenSize=3)
    return g


def decoder_attention():
    g = Golden("decoderAttention")
    model = g.fill(DecoderAttention(3))
    input, hidden = g.randn(3, 5, 3), g.randn(1, 3, 3)
    run = lambda input, hidden, mask=None: pair(["output", "last"], model(input, hidden, mask))  # noqa: E731
    g.case("plain", run, {"input": input, "hidden": hidden}, model, hiddenSize=3)
    g.case("study", run, {"input": input, "hidden": hidden, "mask": MASK}, model, hiddenSize=3)
    run = lambda input, hidden, mask: pair(["output", "last"], model(input, hidden, mask, LENGTHS))  # noqa: E731
    g.case("masked", run, {"input": input, "hidden": hidden, "mask": MASK}, model, hiddenSize=3)
    return g


def encoder_decoder():
    g = Golden("encoderDecoder")
    for name, encoder_only in [("full", False), ("encoderOnly", True)]:
        model = g.fill(EncoderDecoder(10, 3, 2, encoder_only))
        options = SIZES | {"encoderOnly": encoder_only}
        inputs = {"ids": IDS, "mask": MASK}
        g.case(f"{name}.study", lambda ids, mask: pair(["output", "hidden"], model(ids, mask)), inputs, model, **options)
        g.case(f"{name}.masked", lambda ids, mask: pair(["output", "hidden"], model(ids, mask, LENGTHS)), inputs, model, **options)
    return g


# --- training runs ---------------------------------------------------------------------------------


class MeanClassifier(nn.Module):
    """Embedding 12, bidirectional GRU 10 over right-padded lengths, mean of the real steps, Linear 2."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12, padding_idx=0)
        self.rnn = nn.GRU(12, 10, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(20, 2)

    def forward(self, ids, mask):
        lengths = mask.sum(1)
        output, _ = run_gru(self.rnn, self.embedding(ids), None, lengths)
        return self.linear(output.sum(1) / lengths[:, None])


class AttentionClassifier(nn.Module):
    """Encoder 12 -> 10 and SoftAttention (both masked), the weighted steps summed, Linear 2."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(30, 12, 10)
        self.attention = SoftAttention(10)
        self.linear = nn.Linear(10, 2)

    def forward(self, ids, mask):
        output, hidden = self.encoder(ids, lengths=mask.sum(1))
        attended, _ = self.attention(output, hidden, mask)
        return self.linear(attended.sum(1))


STEPS, BATCHES, BATCH, LENGTH = 20, 4, 4, 7


def training_run(g, model, lr, max_norm=None, warmup=None):
    """20 AdamW steps over 4 batches in turn, in float32 and float64 from the same float32 parameters.

    warmup: linear warm-up, then linear decay to 0 at step 20.
    """
    ids = g.randint(1, 30, (BATCHES, BATCH, LENGTH))
    lengths = g.randint(1, LENGTH + 1, (BATCHES, BATCH))
    mask = torch.arange(LENGTH) < lengths[..., None]
    ids, labels = ids * mask, (ids[..., 0] % 2)
    g.put("run", "ids", ids)
    g.put("run", "mask", mask)
    g.put("run", "labels", labels)
    g.fill(model, 0.4).float()
    with torch.no_grad():
        (model.embedding if hasattr(model, "embedding") else model.encoder.embedding).weight[0] = 0
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in initial.items():
        g.put("run", f"param.{name}", value)
    rate = lambda step: lr if warmup is None else lr * min(step / warmup, (STEPS - step) / (STEPS - warmup))  # noqa: E731
    for width, dtype in [("float32", torch.float32), ("float64", torch.float64)]:
        model.load_state_dict(initial)
        model.to(dtype)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        losses, norms = [], []
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = rate(step)
            batch = step % BATCHES
            loss = F.cross_entropy(model(ids[batch], mask[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            if max_norm is not None:
                norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm))
            optimizer.step()
            losses.append(loss.detach())
        assert losses[-1] < losses[0] / 2, f"{g.name}: the loss did not fall"
        g.put("run", f"losses.{width}", torch.stack(losses))
        if norms:
            g.put("run", f"norms.{width}", torch.stack(norms))
    for name, value in model.state_dict().items():
        g.put("run", f"final.{name}", value.float())
    g.options("run", steps=STEPS, lr=lr, weightDecay=0.01)
    if warmup is not None:
        g.options("run", maxNorm=max_norm, warmupSteps=warmup)
    return g


def run_gru_mean():
    return training_run(Golden("runGruMean"), MeanClassifier(), lr=0.05)


def run_gru_attention():
    return training_run(Golden("runGruAttention"), AttentionClassifier(), lr=0.04, max_norm=0.4, warmup=4)


ALL = [encoder, soft_attention, decoder_attention, encoder_decoder, run_gru_mean, run_gru_attention]
