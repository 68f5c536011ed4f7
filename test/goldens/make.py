"""Writes every golden file beside this script: python make.py [name ...]. See README.md."""

import sys

import torch

import attention
import bert
import distill
import images
import layers
import llama
import losses
import models
import ops
import optimizers
import pruning
import quantization
import subwords


def main(wanted):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    total = 0
    for make in [make for module in (layers, images, attention, losses, ops, optimizers, models, bert, llama, distill, pruning, quantization, subwords) for make in module.ALL]:
        if wanted and make.__name__ not in wanted:
            continue
        golden = make()
        size = golden.write()
        total += size
        print(f"{golden.name:20} {len(golden.cases):3} cases {size:6} bytes")
    print(f"{total} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
