// The two classifiers of this example: how each is made, trained and saved. A saved one can be made again from its file.

import { io, models, nn, text } from 'evenfold'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

export const CLASSIFIER_NAMES = ['gru', 'transformer'] as const
export type ClassifierName = (typeof CLASSIFIER_NAMES)[number]
export type Classifier = models.GRUClassifier | models.TransformerClassifier

/** Words of a text that are read; the rest is cut off. */
export const MAX_LENGTH = 100

interface Kind {
  title: string
  /** What its attention is. */
  attention: string
  /** Highest learning rate. */
  lr: number
  create: (vocabularySize: number) => Classifier
}

export const CLASSIFIERS: Record<ClassifierName, Kind> = {
  gru: {
    title: 'GRU',
    attention: 'how much each step of the GRU counts in the sum that is classified',
    lr: 4e-3,
    create(vocabularySize) {
      const model = new models.GRUClassifier({ vocabularySize, embeddingSize: 48, hiddenSize: 48 })
      // Small starting vectors: a word means little until training says so.
      nn.init.normal_(model.encoder.embedding.weight, 0, 0.1)
      return model
    },
  },
  transformer: {
    title: 'Transformer',
    attention: 'how much the CLS vector looks at each word in the last block, as the mean of the heads',
    lr: 3e-3,
    create: (vocabularySize) =>
      new models.TransformerClassifier({
        vocabularySize,
        embeddingSize: 48,
        hiddenSize: 96,
        dropout: 0.1,
        maxLength: MAX_LENGTH,
      }),
  },
}

/** Where a classifier is saved below the folder of the runs. */
export function checkpointOf(folder: string, name: ClassifierName): string {
  return join(folder, name, 'checkpoint.safetensors')
}

export interface Trained {
  name: ClassifierName
  model: Classifier
  vocabulary: text.Vocabulary
}

/** Makes a classifier again from what was saved, null where nothing is. */
export async function load(folder: string, name: ClassifierName): Promise<Trained | null> {
  const path = checkpointOf(folder, name)
  if (!existsSync(path)) return null
  const { extra } = await io.readCheckpointInfo(path)
  const { vocabulary: words } = extra as { vocabulary: text.VocabularyJSON }
  const vocabulary = text.Vocabulary.fromJSON(words)
  const model = CLASSIFIERS[name].create(vocabulary.size)
  await io.loadCheckpoint(path, { model })
  model.eval()
  return { name, model, vocabulary }
}
