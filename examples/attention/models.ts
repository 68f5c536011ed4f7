// Two small Transformers whose tasks make attention visible, and a way to see it.

import * as ef from 'evenfold'
import { nn } from 'evenfold'

/** Letters a sequence is made of. */
export const LETTERS = [...'abcdef']
/** Letters in a sequence. */
export const LENGTH = 8
/** What the decoder gets before its first letter. */
const START = LETTERS.length
const WIDTH = 32

const small = { batchFirst: true, dropout: 0, dimFeedforward: 64 }

/** `batch` random sequences: int32 [batch, LENGTH]. */
export function randomLetters(batch: number): ef.Tensor {
  return ef.randint(0, LETTERS.length, [batch, LENGTH])
}

/** Embeddings of letters with a vector for each position added. */
class Embedded extends nn.Module {
  letters = new nn.Embedding(LETTERS.length + 1, WIDTH)
  positions = nn.init.normal_(new nn.Parameter(ef.zeros([LENGTH, WIDTH])))

  forward(ids: ef.Tensor): ef.Tensor {
    return this.letters.forward(ids).add(this.positions)
  }
}

/** Reads a sequence and writes it backwards: an encoder, and a decoder with attention to what the encoder read. */
export class Reverser extends nn.Module {
  source = new Embedded()
  target = new Embedded()
  encoder = new nn.TransformerEncoderLayer(WIDTH, 1, small)
  decoder = new nn.TransformerDecoderLayer(WIDTH, 1, small)
  linear = new nn.Linear(WIDTH, LETTERS.length)

  /**
   * `ids` [B, LENGTH], and `written` [B, LENGTH], of which each position sees those before it. Logits of the letter at
   * each position, [B, LENGTH, letters].
   */
  forward(ids: ef.Tensor, written: ef.Tensor): ef.Tensor {
    const start = ef.full([ids.shape[0], 1], START, { dtype: 'int32' })
    const before = ef.cat([start, written.narrow(1, 0, LENGTH - 1)], 1)
    const memory = this.encoder.forward(this.source.forward(ids))
    return this.linear.forward(this.decoder.forward(this.target.forward(before), memory, { causal: true }))
  }
}

/** Says of each letter where its twin stands, in sequences with every letter twice: one layer of self-attention. */
export class TwinFinder extends nn.Module {
  embedded = new Embedded()
  encoder = new nn.TransformerEncoderLayer(WIDTH, 1, small)
  linear = new nn.Linear(WIDTH, LENGTH)

  /** `ids` [B, LENGTH] to logits of the twin's position, [B, LENGTH, LENGTH]. */
  forward(ids: ef.Tensor): ef.Tensor {
    return this.linear.forward(this.encoder.forward(this.embedded.forward(ids)))
  }
}

/** `batch` sequences in which LENGTH / 2 letters stand twice each, in random order. */
export function randomTwins(batch: number): ef.Tensor {
  return ef
    .rand([batch, LENGTH])
    .argsort(1)
    .remainder(LENGTH / 2)
}

/** Where the twin of each letter of `ids` [B, LENGTH] stands. */
export function twins(ids: ef.Tensor): ef.Tensor {
  const same = ids.unsqueeze(1).eq(ids.unsqueeze(2))
  return same.logicalAnd(ef.eye(LENGTH).to('bool').logicalNot()).to('float32').argmax(2)
}

/**
 * Runs `forward` and gives the weights with which `attention` looked, a matrix of queries by keys for the first sequence.
 * Layers do not return them, since nothing else needs them: we note what goes in, and ask once more.
 */
export async function weightsOf(
  attention: nn.MultiheadAttention,
  forward: () => ef.Tensor,
): Promise<number[][]> {
  const weights = ef.noGrad(() => {
    let seen: ef.Tensor[] = []
    const remove = attention.registerForwardHook((_, [query, key = query]) => {
      seen = [query, key].map((t) => ef.keep(t.detach()))
      return undefined
    })
    forward()
    remove()
    const [query, key] = seen
    return attention.forward(query, key, key)[1]!
  })
  const [first] = (await weights.tolist()) as number[][][]
  return first
}
