"""Records one golden file: inputs, parameters, outputs and gradients of one or more cases.

Loss of a case = sum over its outputs of sum(output * cotangent), with random stored cotangents,
so that no gradient is trivial. Names inside a file are `<case>/<what>`; see README.md.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

HERE = Path(__file__).parent
MAX_BYTES = 30_000


class Golden:
    """One file. Its random numbers depend on its name alone, so adding a golden changes no other."""

    def __init__(self, name):
        self.name = name
        self.rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        self.tensors = {}
        self.cases = {}

    def randn(self, *shape):
        return torch.randn(shape, generator=self.rng, dtype=torch.float64)

    def randint(self, low, high, shape):
        return torch.randint(low, high, shape, generator=self.rng)

    def fill(self, module, scale=0.6):
        """Gives every parameter of a module fixed random values, uniform in (-scale, scale)."""
        with torch.no_grad():
            for parameter in module.parameters():
                uniform = torch.rand(parameter.shape, generator=self.rng, dtype=torch.float64)
                parameter.copy_((2 * uniform - 1) * scale)
        return module

    def put(self, case, name, value):
        """Stores one tensor as it is: integers as I32, bools as BOOL, floats in their own width."""
        array = torch.as_tensor(value).detach().cpu().numpy()
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        assert f"{case}/{name}" not in self.tensors, f"{self.name}: {case}/{name} stored twice"
        self.tensors[f"{case}/{name}"] = np.ascontiguousarray(array).reshape(array.shape)

    def options(self, case, **options):
        """Constructor or call options of a case, in the camelCase of the library."""
        self.cases.setdefault(case, {}).update(options)

    def case(self, case, fn, inputs, module=None, frozen=(), **options):
        """Runs fn(**inputs), a tensor or a dict of tensors, and stores everything about it.

        Floating inputs not named in `frozen` and the parameters of `module` get gradients.
        """
        self.options(case, **options)
        leaves = {}
        for name, value in inputs.items():
            if value.is_floating_point() and name not in frozen:
                value = value.clone().requires_grad_()
            leaves[name] = value
            self.put(case, name, value)
        parameters = dict(module.named_parameters()) if module is not None else {}
        for name, parameter in parameters.items():
            parameter.grad = None
            self.put(case, f"param.{name}", parameter)

        outputs = fn(**leaves)
        if torch.is_tensor(outputs):
            outputs = {"output": outputs}
        loss = torch.zeros((), dtype=torch.float64)
        for name, output in outputs.items():
            self.put(case, name, output)
            if output.requires_grad:
                cotangent = self.randn(*output.shape)
                self.put(case, f"cotangent.{name}", cotangent)
                loss = loss + (output * cotangent).sum()
        if not loss.requires_grad:
            return
        loss.backward()
        for name, leaf in (leaves | parameters).items():
            if leaf.requires_grad:
                assert leaf.grad is not None, f"{self.name}: {case}/{name} has no gradient"
                self.put(case, f"grad.{name}", leaf.grad)

    def write(self):
        # One metadata key: several would be written in an order that changes from run to run.
        golden = {"cases": {name: self.cases[name] for name in self.cases}, "torch": torch.__version__}
        data = save(self.tensors, metadata={"golden": json.dumps(golden)})
        assert len(data) <= MAX_BYTES, f"{self.name}: {len(data)} bytes, more than {MAX_BYTES}"
        (HERE / f"{self.name}.safetensors").write_bytes(data)
        return len(data)
