// Convolutions, pooling and batch normalization: outputs and gradients equal PyTorch's, on every device.
import { it } from 'vitest'
import * as nn from '../src/nn'
import { checkGolden, describeDevices } from './support/devices'
import { type GoldenCase, loadGolden } from './support/golden'

const F = nn.functional

/** One test per case of a golden file. */
function cases(file: string, check: (golden: GoldenCase) => Promise<void>): void {
  it.each(loadGolden(file).map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) =>
    check(golden),
  )
}

describeDevices('images and sequences', (where) => {
  cases('conv1d', (golden) => {
    const { sizes, ...rest } = golden.options as unknown as nn.ConvOptions<number> & {
      sizes: [number, number, number]
    }
    const layer = new nn.Conv1d(...sizes, { ...rest, ...where })
    return checkGolden(golden, where, ['input'], layer, ({ input }, m) => m.forward(input))
  })

  cases('conv2d', (golden) => {
    const { sizes, ...rest } = golden.options as unknown as nn.ConvOptions<nn.Pair> & {
      sizes: [number, number, nn.Pair]
    }
    const layer = new nn.Conv2d(...sizes, { ...rest, ...where })
    return checkGolden(golden, where, ['input'], layer, ({ input }, m) => m.forward(input))
  })

  cases('maxPool2d', async (golden) => {
    const { kernelSize, ...rest } = golden.options as { kernelSize: nn.Pair }
    await checkGolden(golden, where, ['input'], null, ({ input }) => F.maxPool2d(input, kernelSize, rest))
    const layer = new nn.MaxPool2d(kernelSize, rest)
    await checkGolden(golden, where, ['input'], null, ({ input }) => layer.forward(input))
  })

  cases('avgPool2d', async (golden) => {
    const { kernelSize, ...rest } = golden.options as { kernelSize: nn.Pair }
    await checkGolden(golden, where, ['input'], null, ({ input }) => F.avgPool2d(input, kernelSize, rest))
    const layer = new nn.AvgPool2d(kernelSize, rest)
    await checkGolden(golden, where, ['input'], null, ({ input }) => layer.forward(input))
  })

  cases('batchNorm', (golden) => {
    const { sizes, rank, ...rest } = golden.options as { sizes: [number]; rank: number }
    const layer = new (rank === 4 ? nn.BatchNorm2d : nn.BatchNorm1d)(...sizes, { ...rest, ...where })
    // The goldens start from the parameters given and from fresh running statistics.
    const fresh = {
      loadStateDict: (state: nn.StateDict) => layer.loadStateDict(state, { strict: false }),
      namedParameters: () => layer.namedParameters(),
    }
    return checkGolden(golden, where, ['first', 'second', 'third'], fresh, ({ first, second, third }) => {
      layer.train()
      const outputs = { one: layer.forward(first), two: layer.forward(second) }
      return { ...outputs, three: layer.eval().forward(third), ...Object.fromEntries(layer.namedBuffers()) }
    })
  })
})
