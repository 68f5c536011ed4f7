// Sizes of tiny models: 7 token ids, 4 positions.

export const sizes = { vocabularySize: 7, embedDim: 4, hiddenDim: 6, numHeads: 2, sequenceLength: 4 }
export const llamaSizes = {
  vocabularySize: 7,
  embedDim: 8,
  hiddenDim: 6,
  numLayers: 2,
  numHeads: 4,
  numKeyHeads: 2,
  maxPositions: 4,
}
export const bertJson = {
  architectures: ['BertForMaskedLM'],
  model_type: 'bert',
  vocab_size: 7,
  hidden_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 6,
  max_position_embeddings: 4,
}

export const classifierSizes = {
  vocabularySize: 7,
  embeddingSize: 4,
  hiddenSize: 6,
  numHeads: 2,
  maxLength: 4,
}

export const studySizes = { vocabularySize: 7, embeddingSize: 4, hiddenSize: 3 }
