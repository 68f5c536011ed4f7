// Options that no layer or model can be built of: heads that do not divide a width, probabilities that are none, unknown
// names. Each is a typed error that names the option, what was given and what is expected, before a byte is allocated.
import * as ef from 'evenfold'
import { models, nn } from 'evenfold'
import { beforeAll, describe, it } from 'vitest'
import { expectRefused, type Mistake } from './support/refused'
import { bertJson, classifierSizes, llamaSizes, sizes, studySizes } from './support/tiny-models'

const no = <T>(value: string) => value as T

/** Constructors, each with a mistake. */
const CONSTRUCTIONS: Mistake[] = [
  [
    'heads that do not divide the width: MultiheadAttention',
    () => new nn.MultiheadAttention(10, 4),
    ef.ArgumentError,
    /^MultiheadAttention: 4 heads do not divide embedDim 10; choose another numHeads, or give headDim$/,
  ],
  [
    'heads that do not divide the width: TransformerEncoderLayer',
    () => new nn.TransformerEncoderLayer(10, 4),
    ef.ArgumentError,
    /4 heads do not divide embedDim 10/,
  ],
  [
    'heads that do not divide the width: TransformerDecoderLayer',
    () => new nn.TransformerDecoderLayer(10, 4),
    ef.ArgumentError,
    /4 heads do not divide embedDim 10/,
  ],
  [
    'heads that do not divide the width: PreNormAttentionBlock',
    () => new models.PreNormAttentionBlock(10, 6, 4),
    ef.ArgumentError,
    /4 heads do not divide embedDim 10/,
  ],
  [
    'heads that do not divide the width: PostNormAttentionBlock',
    () => new models.PostNormAttentionBlock(10, 6, 4),
    ef.ArgumentError,
    /4 heads do not divide embedDim 10/,
  ],
  [
    'heads that do not divide the width: Transformer',
    () => new models.Transformer({ ...sizes, embedDim: 10, numHeads: 4 }),
    ef.ArgumentError,
    /^Transformer: 4 heads do not divide embedDim 10; choose another numHeads$/,
  ],
  [
    'heads that do not divide the width: TransformerClassifier',
    () => new models.TransformerClassifier({ ...classifierSizes, numHeads: 3 }),
    ef.ArgumentError,
    /3 heads do not divide embedDim 4/,
  ],
  [
    'heads that do not divide the width: Llama',
    () => new models.Llama({ ...llamaSizes, numHeads: 3 }),
    ef.ArgumentError,
    /^Llama: 3 heads do not divide embedDim 8 into even widths/,
  ],
  [
    'heads that do not divide the width: BERT',
    () => models.parseBertConfig({ ...bertJson, num_attention_heads: 3 }),
    ef.FormatError,
    /^config.json: 3 attention heads do not divide the width 4/,
  ],
  [
    'heads of the keys that do not divide those of the queries',
    () => new models.Llama({ ...llamaSizes, numKeyHeads: 3 }),
    ef.ArgumentError,
    /numKeyHeads 3 does not divide numHeads 4/,
  ],
  [
    'no heads',
    () => new models.Transformer({ ...sizes, numHeads: 0 }),
    ef.ArgumentError,
    /^Transformer: numHeads is 0; expected a positive integer/,
  ],
  [
    'a head without width',
    () => new nn.MultiheadAttention(4, 2, { headDim: 0 }),
    ef.ArgumentError,
    /headDim is 0/,
  ],
  [
    'a block without a feed-forward part',
    () => new models.PreNormAttentionBlock(4, 0, 2),
    ef.ArgumentError,
    /hiddenDim is 0/,
  ],
  [
    'a layer without a feed-forward part',
    () => new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 0 }),
    ef.ArgumentError,
    /^TransformerEncoderLayer: dimFeedforward is 0/,
  ],
  [
    'a negative epsilon in a layer',
    () => new nn.TransformerEncoderLayer(4, 2, { layerNormEps: -1 }),
    ef.ArgumentError,
    /^TransformerEncoderLayer: layerNormEps is -1; expected a number of at least 0/,
  ],
  [
    'a negative epsilon in Llama',
    () => new models.Llama({ ...llamaSizes, normEps: -1 }),
    ef.ArgumentError,
    /^Llama: normEps is -1/,
  ],
  [
    'rotary positions that do not turn',
    () => new models.Llama({ ...llamaSizes, rotaryBase: 0 }),
    ef.ArgumentError,
    /^Llama: rotaryBase is 0; expected a positive number/,
  ],
  [
    'dropout that is no probability: MultiheadAttention',
    () => new nn.MultiheadAttention(4, 2, { dropout: -0.1 }),
    ef.ArgumentError,
    /^MultiheadAttention: dropout is -0.1; expected a number from 0 to 1/,
  ],
  [
    'dropout that is no probability: TransformerEncoderLayer',
    () => new nn.TransformerEncoderLayer(4, 2, { dropout: 1.5 }),
    ef.ArgumentError,
    /dropout is 1.5; expected a number from 0 to 1/,
  ],
  [
    'dropout that is no probability: a block',
    () => new models.PostNormAttentionBlock(4, 6, 2, { dropout: 1.5 }),
    ef.ArgumentError,
    /^AttentionBlock: dropout is 1.5/,
  ],
  [
    'dropout that is no probability: Transformer',
    () => new models.Transformer({ ...sizes, dropout: Number.NaN }),
    ef.ArgumentError,
    /^Transformer: dropout is NaN/,
  ],
  [
    'dropout that is no probability: TransformerClassifier',
    () => new models.TransformerClassifier({ ...classifierSizes, dropout: 2 }),
    ef.ArgumentError,
    /^TransformerClassifier: dropout is 2/,
  ],
  [
    'dropout that is no probability: GRUClassifier',
    () => new models.GRUClassifier({ vocabularySize: 7, dropout: 2 }),
    ef.ArgumentError,
    /^GRUClassifier: dropout is 2/,
  ],
  [
    'dropout that is no probability: EncoderDecoder',
    () => new models.EncoderDecoder({ ...studySizes, dropout: 2 }),
    ef.ArgumentError,
    /^Encoder: dropout is 2/,
  ],
  [
    'dropout that is no probability: SoftAttention',
    () => new models.SoftAttention({ hiddenSize: 3, dropout: 2 }),
    ef.ArgumentError,
    /^SoftAttention: dropout is 2/,
  ],
  [
    'a classifier of no classes',
    () => new models.GRUClassifier({ vocabularySize: 7, numClasses: 0 }),
    ef.ArgumentError,
    /^GRUClassifier: numClasses is 0/,
  ],
  [
    'an unknown place for masks',
    () => new models.Transformer({ ...sizes, maskPlacement: no<'after'>('behind') }),
    ef.ArgumentError,
    /^Transformer: unknown maskPlacement 'behind'; expected 'before', 'after', 'afterUnnormalized'/,
  ],
  [
    'an unknown block',
    () => new models.Transformer({ ...sizes, block: no<'prenorm'>('norm') }),
    ef.ArgumentError,
    /^Transformer: unknown block 'norm'; expected 'prenorm' or 'postnorm'/,
  ],
  [
    'an unknown activation',
    () => new nn.TransformerEncoderLayer(4, 2, { activation: no<'relu'>('tanh') }),
    ef.ArgumentError,
    /unknown activation 'tanh'; expected 'relu' or 'gelu'/,
  ],
  [
    'parameters that are integers',
    () => new models.Transformer({ ...sizes, dtype: no<'float32'>('int32') }),
    ef.DTypeError,
    /dtype is int32; parameters are 'float32' or 'float64'/,
  ],
]

describe.each(['cpu', 'webgpu'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await ef.init({ device })
  })

  it.each(CONSTRUCTIONS)('nothing is built of %s', async (...mistake) => {
    await expectRefused(mistake)
  })

  it('an encoder of no layers leaves the given layer as the only one', async () => {
    const layer = new nn.TransformerEncoderLayer(4, 2)
    await expectRefused([
      'no layers',
      () => new nn.TransformerEncoder(layer, 0),
      ef.ArgumentError,
      /^TransformerEncoder: numLayers is 0/,
    ])
  })
})
