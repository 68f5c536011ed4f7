"""torch.ao.quantization: parameters of each observer after each tensor, integers, fake quantization and its gradient."""

import torch
from torch.ao.quantization import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)

from recorder import Golden

SCHEMES = {
    "int8Symmetric": (torch.qint8, torch.per_tensor_symmetric, -128, 127),
    "int8Affine": (torch.qint8, torch.per_tensor_affine, -128, 127),
    "uint8Symmetric": (torch.quint8, torch.per_tensor_symmetric, 0, 255),
    "uint8Affine": (torch.quint8, torch.per_tensor_affine, 0, 255),
    "uint7Affine": (torch.quint8, torch.per_tensor_affine, 0, 127),
    "int8Channels": (torch.qint8, torch.per_channel_symmetric, -128, 127),
    "uint8ChannelsAffine": (torch.quint8, torch.per_channel_affine, 0, 255),
    "int4Symmetric": (torch.qint8, torch.per_tensor_symmetric, -8, 7),
}


def quantization():
    g = Golden("quantization")
    # The observers compute in the default dtype; what they are used with is float32.
    torch.set_default_dtype(torch.float32)
    for name, (dtype, qscheme, low, high) in SCHEMES.items():
        channels = "Channels" in name
        # With limits given, even the usual ones, the middle of 0 to 255 is 127; without, 128.
        limits = {} if high - low == 255 else {"quant_min": low, "quant_max": high}
        kinds = {"minMax": PerChannelMinMaxObserver(dtype=dtype, qscheme=qscheme, ch_axis=1, **limits) if channels
                 else MinMaxObserver(dtype=dtype, qscheme=qscheme, **limits)}
        if not channels:
            kinds["movingAverage"] = MovingAverageMinMaxObserver(dtype=dtype, qscheme=qscheme, averaging_constant=0.1, **limits)
        for kind, observer in kinds.items():
            case = f"{name}.{kind}"
            type_ = name.split("Symmetric")[0].split("Affine")[0].split("Channels")[0]
            g.options(case, type=type_, symmetric="symmetric" in str(qscheme), axis=1 if channels else None, observer=kind)
            for step in range(3):
                x = (g.randn(3, 4, 2) * (1 + step) + 0.5).float()
                observer(x)
                scale, zero = observer.calculate_qparams()
                g.put(case, f"x.{step}", x)
                g.put(case, f"scale.{step}", scale)
                g.put(case, f"zero.{step}", zero.int())
            x = (g.randn(3, 4, 2) * 4).float()
            x.requires_grad_()
            if channels:
                y = torch.fake_quantize_per_channel_affine(x, scale, zero.to(torch.int32), 1, low, high)
            else:
                y = torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), low, high)
            cotangent = g.randn(3, 4, 2).float()
            (y * cotangent).sum().backward()
            g.put(case, "input", x)
            g.put(case, "fake", y)
            g.put(case, "cotangent", cotangent)
            g.put(case, "grad", x.grad)
    torch.set_default_dtype(torch.float64)
    return g


ALL = [quantization]
