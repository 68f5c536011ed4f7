// The six models: a body of the library's classes and a linear layer to two classes on the vector it gives.

import * as ef from 'evenfold'
import { type data, models, nn } from 'evenfold'
import { BERT_BASE, bertTiny, DROPOUT, HEADS, type Sizes } from './recipe'

/** What a body sees of a batch. */
export type Input = Pick<data.Batch, 'ids' | 'mask' | 'lengths'>

export class Classifier extends nn.Module {
  classifier: nn.Linear
  readonly #features: (input: Input) => ef.Tensor
  readonly #frozen: boolean

  constructor(
    readonly body: nn.Module,
    features: (input: Input) => ef.Tensor,
    width: number,
    { frozen = false } = {},
  ) {
    super()
    this.#features = features
    this.#frozen = frozen
    this.classifier = new nn.Linear(width, 2)
    if (frozen) body.requiresGrad_(false)
    this.train()
  }

  /** A frozen body has no dropout either: its features are those of an evaluation. */
  override train(mode = true): this {
    super.train(mode)
    if (this.#frozen) this.body.eval()
    return this
  }

  /** Logits [B, 2]. */
  forward(input: Input): ef.Tensor {
    const features = this.#frozen ? ef.noGrad(() => this.#features(input)) : this.#features(input)
    return this.classifier.forward(features)
  }

  /** Parameters of the body: the study does not count the classifier. */
  get parameterCount(): number {
    return this.body.parameters().reduce((sum, p) => sum + p.size, 0)
  }

  trainable(): nn.Parameter[] {
    return this.parameters().filter((p) => p.requiresGrad)
  }

  /** Gives the memory back at once: the next experiment's is measured from nothing. */
  release(): void {
    for (const p of this.parameters()) {
      p.grad?.dispose()
      p.dispose()
    }
  }
}

/** Experiment 1 to 5 with new weights. */
function buildOwn(number: number, { vocabularySize, width = 256 }: Sizes): Classifier {
  const sizes = { vocabularySize, dropout: DROPOUT }
  if (number <= 2) {
    const body = new models.EncoderDecoder({
      ...sizes,
      embeddingSize: width,
      hiddenSize: width,
      encoderOnly: number === 1,
    })
    // With lengths, the backward direction starts at the last token instead of at the padding.
    return new Classifier(body, ({ ids, mask, lengths }) => body.forward(ids, mask, { lengths })[0], width)
  }
  const body = new models.Transformer({
    ...sizes,
    embedDim: width,
    hiddenDim: width,
    numHeads: HEADS,
    numLayers: number === 4 ? 4 : 2,
    block: number === 5 ? 'postnorm' : 'prenorm',
  })
  return new Classifier(body, ({ ids, mask }) => body.forward(ids, mask), width)
}

function probe(bert: models.BertModel): Classifier {
  const cls = ({ ids, mask }: Input) =>
    bert.forward(ids, { attentionMask: mask }).lastHiddenState.select(1, 0)
  return new Classifier(bert, cls, bert.config.hiddenSize, { frozen: true })
}

/**
 * The model of an experiment. The sixth is a linear probe on the [CLS] of a frozen BERT: that in `bertFolder` (Hugging
 * Face's layout), or one of random weights.
 */
export async function buildClassifier(
  number: number,
  sizes: Sizes,
  bertFolder: string | undefined,
): Promise<Classifier> {
  if (number !== 6) return buildOwn(number, sizes)
  if (bertFolder === undefined) return probe(new models.BertModel(models.parseBertConfig(bertTiny(sizes))))
  return probe((await models.loadPretrained(bertFolder, { as: 'BertModel' })).model)
}

/** The published sizes' number of parameters, counted from the built model; of BERT-base, from its config. */
export function countParameters(number: number): number {
  if (number === 6) return models.countBertParameters(models.parseBertConfig(BERT_BASE))
  const model = buildOwn(number, {})
  try {
    return model.parameterCount
  } finally {
    model.release()
  }
}
