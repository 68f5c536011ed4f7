// Attention, Transformer encoders and decoders, RMSNorm, the study's Transformer and the classifier of it: outputs and
// gradients equal PyTorch's, on every device.
import type * as ef from 'evenfold'
import { expect, it } from 'vitest'
import * as models from '../src/models'
import * as nn from '../src/nn'
import { checkGolden, describeDevices } from './support/devices'
import { type GoldenCase, loadGolden } from './support/golden'

/** One test per case of a golden file. */
function cases(file: string, check: (golden: GoldenCase) => Promise<void>): void {
  it.each(loadGolden(file).map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) =>
    check(golden),
  )
}

interface Sizes {
  sizes: [number, number]
}

describeDevices('attention', (where) => {
  for (const file of ['multiheadAttention', 'attentionMasks', 'attentionHeadDim', 'attentionMaskAfter']) {
    cases(file, (golden) => {
      const { sizes, needWeights, averageWeights, ...rest } = golden.options as unknown as Sizes &
        nn.AttentionForwardOptions
      const layer = new nn.MultiheadAttention(...sizes, { ...rest, ...where })
      const names = ['query', 'key', 'value', 'keyPaddingMask', 'attnMask']
      return checkGolden(
        golden,
        where,
        names,
        layer,
        ({ query, key, value, ...masks }, m): Record<string, ef.Tensor> => {
          const options = { needWeights, averageWeights, ...masks }
          const [output, attention] = m.forward(query, key, value, options)
          return attention && golden.has('attention') ? { output, attention } : { output }
        },
      )
    })
  }

  it('causal is the mask of what lies ahead', () => {
    const golden = loadGolden('attentionMasks').find(({ name }) => name === 'causal')!
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, ...where })
    return checkGolden(golden, where, ['query'], layer, ({ query }, m) => {
      const [output, attention] = m.forward(query, query, query, { causal: true, averageWeights: false })
      return { output, attention: attention as ef.Tensor }
    })
  })

  cases('transformerEncoderLayer', (golden) => {
    const { sizes, ...rest } = golden.options as unknown as Sizes & nn.TransformerLayerOptions
    const layer = new nn.TransformerEncoderLayer(...sizes, { ...rest, dropout: 0, ...where })
    const names = ['src', 'srcKeyPaddingMask', 'attnMask']
    return checkGolden(golden, where, names, layer, ({ src, srcKeyPaddingMask, attnMask }, m) =>
      m.forward(src, { srcKeyPaddingMask, mask: attnMask }),
    )
  })

  cases('transformerEncoder', (golden) => {
    const { sizes, numLayers, norm, ...rest } = golden.options as unknown as Sizes &
      nn.TransformerLayerOptions & { numLayers: number; norm: boolean }
    const layer = new nn.TransformerEncoderLayer(...sizes, { ...rest, dropout: 0, ...where })
    const last = norm ? new nn.LayerNorm(sizes[0], where) : null
    const encoder = new nn.TransformerEncoder(layer, numLayers, { norm: last })
    return checkGolden(golden, where, ['src', 'srcKeyPaddingMask', 'attnMask'], encoder, (inputs, m) =>
      m.forward(inputs.src, { srcKeyPaddingMask: inputs.srcKeyPaddingMask, mask: inputs.attnMask }),
    )
  })

  const decoderNames = ['tgt', 'memory', 'tgtMask', 'memoryMask', 'tgtKeyPaddingMask', 'memoryKeyPaddingMask']

  cases('transformerDecoderLayer', (golden) => {
    const { sizes, ...rest } = golden.options as unknown as Sizes & nn.TransformerLayerOptions
    const layer = new nn.TransformerDecoderLayer(...sizes, { ...rest, dropout: 0, ...where })
    return checkGolden(golden, where, decoderNames, layer, ({ tgt, memory, ...masks }, m) =>
      m.forward(tgt, memory, masks),
    )
  })

  cases('transformerDecoder', (golden) => {
    const { sizes, numLayers, norm, ...rest } = golden.options as unknown as Sizes &
      nn.TransformerLayerOptions & { numLayers: number; norm: boolean }
    const layer = new nn.TransformerDecoderLayer(...sizes, { ...rest, dropout: 0, ...where })
    const last = norm ? new nn.LayerNorm(sizes[0], where) : null
    const decoder = new nn.TransformerDecoder(layer, numLayers, { norm: last })
    return checkGolden(golden, where, decoderNames, decoder, ({ tgt, memory, tgtMask: _, ...masks }, m) =>
      m.forward(tgt, memory, { ...masks, causal: true }),
    )
  })

  cases('rmsNorm', (golden) => {
    const { normalizedShape, ...rest } = golden.options as unknown as nn.RMSNormOptions & {
      normalizedShape: number[]
    }
    // torch's own eps is that of the dtype the golden was computed in.
    const layer = new nn.RMSNorm(normalizedShape, { eps: Number.EPSILON, ...rest, ...where })
    return checkGolden(golden, where, ['input'], layer, ({ input }, m) => m.forward(input))
  })

  cases('studyTransformer', (golden) => {
    const model = new models.Transformer({ ...golden.options, dropout: 0, ...where })
    return checkGolden(golden, where, ['ids', 'mask'], model, ({ ids, mask }, m) =>
      m.forward(ids, mask ?? null),
    )
  })

  cases('transformerClassifier', (golden) => {
    const options = golden.options as unknown as models.TransformerClassifierOptions
    const model = new models.TransformerClassifier({ ...options, dropout: 0, ...where })
    return checkGolden(golden, where, ['ids', 'mask'], model, ({ ids, mask }, m) => {
      const [output, attention] = m.forward(ids, { mask, attention: true })
      return { output, attention }
    })
  })
})

const count = (model: nn.Module) => model.parameters().reduce((n, p) => n + p.size, 0)

it('the study’s Transformers have the published numbers of parameters', () => {
  const sizes = { numHeads: 4, device: 'cpu' } as const
  expect(count(new models.Transformer({ ...sizes, numLayers: 2, block: 'prenorm' }))).toBe(8_671_744)
  expect(count(new models.Transformer({ ...sizes, numLayers: 4, block: 'prenorm' }))).toBe(9_463_296)
  expect(count(new models.Transformer({ ...sizes, numLayers: 2, block: 'postnorm' }))).toBe(8_671_744)
  expect(count(new models.PreNormAttentionBlock(256, 256, 4))).toBe(395_776)
  expect(count(new nn.MultiheadAttention(3 * 5, 3))).toBe(4 * (15 * 15 + 15))
})
