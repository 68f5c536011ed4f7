// The classifiers to choose from, with the settings that did best on held-out sentences.

import { models, nn } from 'evenfold'

/** No text is longer; longer ones are cut. */
export const MAX_LENGTH = 100

export const MODELS = ['gru', 'transformer'] as const
export type ModelName = (typeof MODELS)[number]

/** What a model is built from; saved beside its weights. */
export interface Settings {
  vocabularySize: number
  embeddingSize: number
  hiddenSize: number
  numLayers: number
  /** Of the Transformer. */
  numHeads: number
  dropout: number
}

/** What the command line may change. */
export const DEFAULTS = {
  gru: { hidden: 64, lr: 3e-3 },
  transformer: { hidden: 128, lr: 2e-3 },
}

export function buildClassifier(name: ModelName, { numHeads, ...settings }: Settings) {
  if (name === 'transformer') {
    return new models.TransformerClassifier({
      ...settings,
      numHeads,
      maxLength: MAX_LENGTH,
      pooling: 'mean',
    })
  }
  const model = new models.GRUClassifier(settings)
  // Standard normal vectors, the default, would drown what training adds to those of rare words.
  nn.init.normal_(model.encoder.embedding.weight, 0, 0.1)
  return model
}
