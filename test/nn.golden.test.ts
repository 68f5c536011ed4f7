// Every layer, activation, loss and delicate op: outputs and gradients equal PyTorch's, on every device.
import * as ef from 'evenfold'
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

/** The options of a case, as the tests' own declaration says they are. */
function options<T>(golden: GoldenCase): T {
  return golden.options as T
}

describeDevices('layers', (where) => {
  cases('linear', (golden) => {
    const { sizes, bias } = options<{ sizes: [number, number]; bias: boolean }>(golden)
    return checkGolden(
      golden,
      where,
      ['input'],
      new nn.Linear(...sizes, { bias, ...where }),
      ({ input }, m) => m.forward(input),
    )
  })

  cases('embedding', (golden) => {
    const { sizes, paddingIdx } = options<{ sizes: [number, number]; paddingIdx?: number }>(golden)
    const layer = new nn.Embedding(...sizes, { paddingIdx, ...where })
    return checkGolden(golden, where, ['ids'], layer, ({ ids }, m) => m.forward(ids))
  })

  cases('layerNorm', (golden) => {
    const { normalizedShape, ...rest } = options<nn.LayerNormOptions & { normalizedShape: number[] }>(golden)
    const layer = new nn.LayerNorm(normalizedShape, { ...rest, ...where })
    return checkGolden(golden, where, ['input'], layer, ({ input }, m) => m.forward(input))
  })

  for (const file of ['gru', 'gruDet', 'gruLayers', 'gruLengths', 'gruMask']) {
    cases(file, (golden) => {
      const { sizes, ...rest } = options<{ sizes: [number, number] }>(golden)
      const layer = new nn.GRU(...sizes, { ...rest, ...where })
      return checkGolden(
        golden,
        where,
        ['input', 'h0', 'lengths', 'mask'],
        layer,
        ({ input, h0, lengths, mask }, m) => {
          const [output, hidden] = m.forward(input, h0 ?? null, { lengths, mask })
          return { output, hidden }
        },
      )
    })
  }

  for (const file of ['lstm', 'lstmMask']) {
    cases(file, (golden) => {
      const { sizes, ...rest } = options<{ sizes: [number, number] }>(golden)
      const layer = new nn.LSTM(...sizes, { ...rest, ...where })
      return checkGolden(
        golden,
        where,
        ['input', 'h0', 'c0', 'lengths', 'mask'],
        layer,
        ({ input, h0, c0, lengths, mask }, m) => {
          const [output, [hidden, cell]] = m.forward(input, h0 ? [h0, c0] : null, { lengths, mask })
          return { output, hidden, cell }
        },
      )
    })
  }

  cases('rnn', (golden) => {
    const { sizes, ...rest } = options<nn.RNNOptions & { sizes: [number, number] }>(golden)
    const layer = new nn.RNN(...sizes, { ...rest, ...where })
    return checkGolden(golden, where, ['input', 'h0', 'lengths'], layer, ({ input, h0, lengths }, m) => {
      const [output, hidden] = m.forward(input, h0 ?? null, { lengths })
      return { output, hidden }
    })
  })
})

describeDevices('activations', (where) => {
  const functions: Record<string, (x: ef.Tensor) => ef.Tensor> = {
    relu: F.relu,
    gelu: F.gelu,
    geluTanh: (x) => F.gelu(x, { approximate: 'tanh' }),
    silu: F.silu,
    softplus: F.softplus,
    tanh: F.tanh,
    sigmoid: F.sigmoid,
  }
  const modules: Record<string, nn.Layer> = {
    relu: new nn.ReLU(),
    gelu: new nn.GELU(),
    geluTanh: new nn.GELU({ approximate: 'tanh' }),
    silu: new nn.SiLU(),
    softplus: new nn.Softplus(),
    tanh: new nn.Tanh(),
    sigmoid: new nn.Sigmoid(),
  }
  cases('activations', async (golden) => {
    const name = golden.name.split('.')[0]
    await checkGolden(golden, where, ['input'], null, ({ input }) => functions[name](input))
    await checkGolden(golden, where, ['input'], null, ({ input }) => modules[name].forward(input))
  })

  cases('softmax', async (golden) => {
    const { dim } = options<{ dim: number }>(golden)
    const [fn, Type] = golden.name.startsWith('softmax')
      ? [F.softmax, nn.Softmax]
      : [F.logSoftmax, nn.LogSoftmax]
    await checkGolden(golden, where, ['input'], null, ({ input }) => fn(input, dim))
    await checkGolden(golden, where, ['input'], null, ({ input }) => new Type(dim).forward(input))
  })
})

describeDevices('losses', (where) => {
  cases('crossEntropy', async (golden) => {
    const rest = options<object>(golden)
    const names = ['input', 'target', 'weight']
    await checkGolden(golden, where, names, null, ({ input, target, weight }) =>
      F.crossEntropy(input, target, { weight, ...rest }),
    )
    await checkGolden(golden, where, names, null, ({ input, target, weight }) =>
      new nn.CrossEntropyLoss({ weight, ...rest }).forward(input, target),
    )
  })

  cases('bceWithLogits', async (golden) => {
    const rest = options<object>(golden)
    const names = ['input', 'target', 'weight', 'posWeight']
    await checkGolden(golden, where, names, null, ({ input, target, ...weights }) =>
      F.bceWithLogits(input, target, { ...weights, ...rest }),
    )
    await checkGolden(golden, where, names, null, ({ input, target, ...weights }) =>
      new nn.BCEWithLogitsLoss({ ...weights, ...rest }).forward(input, target),
    )
  })

  cases('mse', async (golden) => {
    const rest = options<object>(golden)
    await checkGolden(golden, where, ['input', 'target'], null, ({ input, target }) =>
      F.mse(input, target, rest),
    )
    await checkGolden(golden, where, ['input', 'target'], null, ({ input, target }) =>
      new nn.MSELoss(rest).forward(input, target),
    )
  })

  cases('nll', async (golden) => {
    const rest = options<object>(golden)
    const names = ['input', 'target', 'weight']
    await checkGolden(golden, where, names, null, ({ input, target, weight }) =>
      F.nll(input, target, { weight, ...rest }),
    )
    await checkGolden(golden, where, names, null, ({ input, target, weight }) =>
      new nn.NLLLoss({ weight, ...rest }).forward(input, target),
    )
  })

  type PairLoss = 'l1' | 'smoothL1' | 'huber' | 'klDiv'
  const pairs = { l1: nn.L1Loss, smoothL1: nn.SmoothL1Loss, huber: nn.HuberLoss, klDiv: nn.KLDivLoss }
  const checkPair = async (golden: GoldenCase, name: PairLoss): Promise<void> => {
    const rest = options<object>(golden)
    const names = ['input', 'target']
    await checkGolden(golden, where, names, null, ({ input, target }) => F[name](input, target, rest))
    await checkGolden(golden, where, names, null, ({ input, target }) =>
      new pairs[name](rest).forward(input, target),
    )
  }
  cases('pairLosses', (golden) => checkPair(golden, golden.name.split('.')[0] as PairLoss))
  cases('klDiv', (golden) => checkPair(golden, 'klDiv'))

  const margins = { marginRanking: nn.MarginRankingLoss, cosineEmbedding: nn.CosineEmbeddingLoss }
  cases('marginLosses', async (golden) => {
    const name = golden.name.split('.')[0] as keyof typeof margins
    const rest = options<object>(golden)
    const names = ['input', 'other', 'target']
    await checkGolden(golden, where, names, null, ({ input, other, target }) =>
      F[name](input, other, target, rest),
    )
    await checkGolden(golden, where, names, null, ({ input, other, target }) =>
      new margins[name](rest).forward(input, other, target),
    )
  })
})

describeDevices('ops', (where) => {
  interface OpOptions {
    dim?: number | number[]
    keepdim?: boolean
    correction?: number
  }
  const run = (
    golden: GoldenCase,
    fn: (inputs: Record<string, ef.Tensor>) => ef.Tensor | Record<string, ef.Tensor>,
  ) => checkGolden(golden, where, ['input', 'other', 'exponent', 'mask', 'index', 'src'], null, fn)

  cases('variance', (golden) => {
    const { dim, ...rest } = options<OpOptions>(golden)
    const op = golden.name.startsWith('var') ? ef.variance : ef.std
    return run(golden, ({ input }) => op(input, dim, rest))
  })

  cases('logsumexp', (golden) => {
    const { dim, ...rest } = options<OpOptions>(golden)
    return run(golden, ({ input }) => input.logsumexp(dim, rest))
  })

  cases('prod', (golden) => {
    const { dim, ...rest } = options<OpOptions>(golden)
    return run(golden, ({ input }) => input.prod(dim, rest))
  })

  cases('norm', (golden) => {
    const { p, dim } = options<{ p: number | 'inf'; dim?: number }>(golden)
    return run(golden, ({ input }) =>
      input.norm({ p: p === 'inf' ? Number.POSITIVE_INFINITY : p, dims: dim }),
    )
  })

  cases('extrema', (golden) => {
    const { keepdim } = options<OpOptions>(golden)
    const functions: Record<
      string,
      (x: ef.Tensor, other: ef.Tensor) => ef.Tensor | Record<string, ef.Tensor>
    > = {
      'max.all': (x) => x.max(),
      'min.all': (x) => x.min(),
      'max.dim1': (x) => named(x.max(1)),
      'min.dim1': (x) => named(x.min(1)),
      'amax.dim1': (x) => x.amax(1, { keepdim }),
      'amin.dim1': (x) => x.amin(1, { keepdim }),
      'max.special': (x) => x.amax(1),
      'min.special': (x) => x.amin(1),
      maximum: (x, other) => x.maximum(other),
      minimum: (x, other) => x.minimum(other),
    }
    return run(golden, ({ input, other }) => functions[golden.name](input, other))
  })

  cases('indexing', (golden) => {
    const { dim } = options<{ dim: number }>(golden)
    return run(golden, ({ input, index, src }) =>
      golden.name.startsWith('gather')
        ? input.gather(dim, index)
        : golden.name.startsWith('indexSelect')
          ? input.indexSelect(dim, index)
          : input.scatterAdd(dim, index, src),
    )
  })

  cases('pointwise', (golden) => {
    const {
      exponent: power,
      value,
      ...bounds
    } = options<{ exponent?: number; value?: number; min?: number; max?: number }>(golden)
    return run(golden, ({ input, other, exponent, mask }) => {
      const functions: Record<string, () => ef.Tensor> = {
        erf: () => input.erf(),
        round: () => input.round(),
        remainder: () => input.remainder(other),
        abs: () => input.abs(),
        sign: () => input.sign(),
        relu: () => input.relu(),
        clamp: () => input.clamp(bounds),
        clampMin: () => input.clamp(bounds),
        pow: () => input.pow(exponent ?? power!),
        log1p: () => input.log1p(),
        expm1: () => input.expm1(),
        where: () => ef.where(mask, input, other),
        maskedFill: () => input.maskedFill(mask, value!),
      }
      return functions[golden.name.split('.')[0]]()
    })
  })
})

function named({ values, indices }: ef.Extrema): Record<string, ef.Tensor> {
  return { output: values, indices }
}
