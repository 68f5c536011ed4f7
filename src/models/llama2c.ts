// Models of Karpathy's llama2.c, version 0 of its format: seven int32 sizes, then float32 tensors in a fixed order, a
// layer's weights side by side for all layers.

import { platform } from '#platform'
import { FormatError } from '../errors'
import type { LayerOptions } from '../nn/options'
import { copyInto } from '../tensor/mutate'
import { tensor } from '../tensor/create'
import { noGrad } from '../tensor/scope'
import { Llama, type LlamaConfig } from './llama'

const SIZES = ['dim', 'hidden_dim', 'n_layers', 'n_heads', 'n_kv_heads', 'vocab_size', 'seq_len'] as const
const HEADER = 4 * SIZES.length

/**
 * Loads a llama2.c model from a path (Node), a Blob or bytes.
 * @throws FormatError for sizes that do not fit each other or the file, before the model is allocated.
 */
export async function loadLlama2c(
  from: string | Blob | Uint8Array,
  options: LayerOptions = {},
): Promise<Llama> {
  const source = typeof from === 'string' ? from : 'llama2.c model'
  const bytes =
    typeof from === 'string'
      ? await platform.readFile(from)
      : from instanceof Uint8Array
        ? from
        : new Uint8Array(await from.arrayBuffer())
  const config = readHeader(bytes, source)
  const parts = partsOf(config)
  const wanted = HEADER + 4 * parts.reduce((n, part) => n + part.size, 0)
  if (bytes.byteLength !== wanted) {
    throw new FormatError(
      `${source}: ${bytes.byteLength} bytes, but a model of these sizes has ${wanted}; truncated, or not of version 0?`,
    )
  }
  const model = new Llama(config, options)
  const state = model.stateDict()
  let at = HEADER
  for (const { key, size } of parts) {
    if (key !== null) {
      const target = state[key]
      const values = new Float32Array(bytes.slice(at, at + 4 * size).buffer)
      noGrad(() => {
        const { shape, device } = target
        const dtype = target.dtype as 'float32' | 'float64'
        copyInto(target, tensor(values, { shape, dtype, device }))
      })
    }
    at += 4 * size
  }
  return model.eval()
}

function readHeader(bytes: Uint8Array, source: string): Required<LlamaConfig> {
  if (bytes.byteLength < HEADER)
    throw new FormatError(`${source}: ${bytes.byteLength} bytes are too few for a llama2.c model`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER)
  const [dim, hidden, layers, heads, keyHeads, vocabulary, length] = SIZES.map((name, i) => {
    const value = view.getInt32(4 * i, true)
    // A negative vocabulary says that there is an output layer of its own.
    const size = name === 'vocab_size' ? Math.abs(value) : value
    if (size < 1 || size > 2 ** 24)
      throw new FormatError(`${source}: ${name} is ${value}; not a llama2.c model of version 0?`)
    return value
  })
  if (dim % (2 * heads) !== 0 || heads % keyHeads !== 0) {
    throw new FormatError(
      `${source}: ${heads} heads (${keyHeads} of keys) do not divide the width ${dim} into even parts`,
    )
  }
  return {
    embedDim: dim,
    hiddenDim: hidden,
    numLayers: layers,
    numHeads: heads,
    numKeyHeads: keyHeads,
    vocabularySize: Math.abs(vocabulary),
    maxPositions: length,
    normEps: 1e-5,
    rotaryBase: 10000,
    tied: vocabulary > 0,
  }
}

/** The file's tensors in order; those without a key are tables of angles that follow from the sizes. */
function partsOf(config: Required<LlamaConfig>): { key: string | null; size: number }[] {
  const { embedDim: E, hiddenDim: F, numHeads, numKeyHeads, numLayers, vocabularySize, maxPositions } = config
  const width = E / numHeads
  const each = (name: string, size: number) =>
    Array.from({ length: numLayers }, (_, i) => ({ key: `layers.${i}.${name}.weight`, size }))
  return [
    { key: 'tok_embeddings.weight', size: vocabularySize * E },
    ...each('attention_norm', E),
    ...each('attention.wq', E * E),
    ...each('attention.wk', width * numKeyHeads * E),
    ...each('attention.wv', width * numKeyHeads * E),
    ...each('attention.wo', E * E),
    ...each('ffn_norm', E),
    ...each('feed_forward.w1', F * E),
    ...each('feed_forward.w2', E * F),
    ...each('feed_forward.w3', F * E),
    { key: 'norm.weight', size: E },
    { key: null, size: 2 * maxPositions * (width / 2) },
    ...(config.tied ? [] : [{ key: 'output.weight', size: vocabularySize * E }]),
  ]
}
