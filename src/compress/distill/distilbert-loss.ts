// The three losses that DistilBERT was trained with (Sanh et al. 2019, and the training script published with it).

import { ShapeError } from '../../errors'
import { IGNORED } from '../../data/masked-lm'
import { crossEntropy } from '../../nn/loss'
import { inModule } from '../../tensor/context'
import { add, mul, ne } from '../../tensor/ops/elementwise'
import { reshape } from '../../tensor/ops/views'
import { tidy } from '../../tensor/scope'
import { formatShape, sameShape } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import { hiddenCosine, hiddenMse } from './hints'
import { checkFinite, checkMask, checkSameWidth } from './rows'
import { checkLogits, softTargetLoss } from './soft-targets'

/** What a masked language model gives. */
export interface MaskedLMStates {
  /** [B, T, V] */
  logits: Tensor
  /** [B, T, E], the last layer's. */
  lastHiddenState: Tensor
}

export interface DistilBertLossOptions {
  /** `[B, T]`: true or not 0 at tokens. Default: all are tokens. */
  attentionMask?: Tensor | null
  /** Weight of the soft targets, at temperature T, times T squared. Default 5. */
  alphaSoft?: number
  /** Weight of the masked tokens' cross-entropy. Default 2. */
  alphaMaskedLM?: number
  /** Weight of the last hidden states' 1 - cos. Default 1. */
  alphaCosine?: number
  /** Weight of the logits' squared error, summed over the vocabulary. Default 0. */
  alphaLogits?: number
  /** Default 2. */
  temperature?: number
  /** Soft targets at the masked tokens only, rather than at all tokens. Default false. */
  onlyMasked?: boolean
}

export interface DistilBertLoss {
  loss: Tensor
  soft: Tensor
  /** Those below are null where their weight is 0. */
  maskedLM: Tensor | null
  cosine: Tensor | null
  logits: Tensor | null
}

/**
 * 5 T² KL(teacher, student) over the tokens + 2 cross-entropy of the masked tokens `labels` [B, T] (-100 elsewhere) + 1 - cos
 * of the last hidden states over the tokens. With the parts before they were weighted.
 * @throws ShapeError for a teacher of another vocabulary, width or other texts; ArgumentError for weights or a temperature that
 * cannot be.
 */
export function distilBertLoss(
  student: MaskedLMStates,
  teacher: MaskedLMStates,
  labels: Tensor,
  options: DistilBertLossOptions = {},
): DistilBertLoss {
  const { attentionMask = null, temperature = 2, onlyMasked = false } = options
  const { alphaSoft = 5, alphaMaskedLM = 2, alphaCosine = 1, alphaLogits = 0 } = options
  for (const [name, alpha] of Object.entries({ alphaSoft, alphaMaskedLM, alphaCosine, alphaLogits })) {
    checkFinite('distilBertLoss', name, alpha)
  }
  const [B, T, V] = student.logits.shape
  if (student.logits.ndim !== 3 || !sameShape(labels.shape, [B!, T!])) {
    throw new ShapeError(
      `distilBertLoss: logits have shape ${formatShape(student.logits.shape)} and labels ${formatShape(labels.shape)}${inModule()}; ` +
        'expected [B, T, V] and [B, T]',
    )
  }
  checkFinite('distilBertLoss', 'temperature', temperature, { above: 0 })
  checkMask('distilBertLoss', attentionMask, [B!, T!])
  checkLogits('distilBertLoss', student.logits, teacher.logits)
  if (alphaCosine !== 0) checkSameWidth('distilBertLoss', student.lastHiddenState, teacher.lastHiddenState)
  return tidy(() => {
    const mask = onlyMasked ? ne(labels, IGNORED) : attentionMask
    const part = (alpha: number, compute: () => Tensor): Tensor | null => (alpha === 0 ? null : compute())
    const soft = softTargetLoss(student.logits, teacher.logits, {
      ...{ temperature, temperatureSquared: true, divergence: 'kl', mask },
    })
    const maskedLM = part(alphaMaskedLM, () =>
      crossEntropy(reshape(student.logits, [B! * T!, V!]), reshape(labels, [B! * T!])),
    )
    const cosine = part(alphaCosine, () =>
      hiddenCosine(student.lastHiddenState, teacher.lastHiddenState, { mask: attentionMask }),
    )
    const logits = part(alphaLogits, () => mul(hiddenMse(student.logits, teacher.logits, { mask }), V!))
    let loss = mul(soft, alphaSoft)
    for (const [alpha, value] of [
      [alphaMaskedLM, maskedLM],
      [alphaCosine, cosine],
      [alphaLogits, logits],
    ] as const) {
      if (value) loss = add(loss, mul(value, alpha))
    }
    return { loss, soft, maskedLM, cosine, logits }
  })
}
