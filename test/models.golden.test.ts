// The published study's models: outputs and gradients equal PyTorch's, on every device.
import type * as ef from 'evenfold'
import { expect, it } from 'vitest'
import * as models from '../src/models'
import { checkGolden, describeDevices } from './support/devices'
import { type GoldenCase, loadGolden } from './support/golden'

/** Right-padded lengths of a mask, given to the recurrent layers in the `masked` cases. */
function lengthsOf(golden: GoldenCase): { lengths?: number[] } {
  if (!golden.name.endsWith('masked')) return {}
  const { shape, values } = golden.get('mask')
  return {
    lengths: Array.from({ length: shape[0] }, (_, b) =>
      values.slice(b * shape[1], (b + 1) * shape[1]).reduce((n, v) => n + v, 0),
    ),
  }
}

function named(names: [string, string], tensors: [ef.Tensor, ef.Tensor]): Record<string, ef.Tensor> {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i]]))
}

describeDevices('models', (where) => {
  it.each(loadGolden('encoder').map((golden) => [golden.name, golden] as const))(
    'Encoder: %s',
    (_, golden) => {
      const model = new models.Encoder({ ...golden.options, ...where })
      return checkGolden(golden, where, ['ids', 'h0'], model, ({ ids, h0 }, m) =>
        named(['output', 'hidden'], m.forward(ids, h0 ?? null, lengthsOf(golden))),
      )
    },
  )

  it.each(loadGolden('softAttention').map((golden) => [golden.name, golden] as const))(
    'SoftAttention: %s',
    (_, golden) => {
      const model = new models.SoftAttention({ ...golden.options, ...where })
      return checkGolden(golden, where, ['input', 'hidden', 'mask'], model, ({ input, hidden, mask }, m) =>
        named(['output', 'attention'], m.forward(input, hidden, mask ?? null)),
      )
    },
  )

  it.each(loadGolden('decoderAttention').map((golden) => [golden.name, golden] as const))(
    'DecoderAttention: %s',
    (_, golden) => {
      const model = new models.DecoderAttention({ ...golden.options, ...where })
      return checkGolden(golden, where, ['input', 'hidden', 'mask'], model, ({ input, hidden, mask }, m) =>
        named(['output', 'last'], m.forward(input, hidden, mask ?? null, lengthsOf(golden))),
      )
    },
  )

  it.each(loadGolden('encoderDecoder').map((golden) => [golden.name, golden] as const))(
    'EncoderDecoder: %s',
    (_, golden) => {
      const model = new models.EncoderDecoder({ ...golden.options, ...where })
      return checkGolden(golden, where, ['ids', 'mask'], model, ({ ids, mask }, m) =>
        named(['output', 'hidden'], m.forward(ids, mask, lengthsOf(golden))),
      )
    },
  )
})

it('have the published numbers of parameters', () => {
  const count = (model: { parameters(): ef.Tensor[] }) => model.parameters().reduce((n, p) => n + p.size, 0)
  expect(count(new models.EncoderDecoder({ encoderOnly: true }))).toBe(8_603_136)
  expect(count(new models.EncoderDecoder())).toBe(9_195_008)
})
