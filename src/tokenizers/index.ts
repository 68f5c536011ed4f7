// `evenfold/tokenizers`: subword tokenizers from a Hugging Face `tokenizer.json`, or trained on one's own texts (BERT's WordPiece and the others that
// the @huggingface/tokenizers package reads; it is an optional peer: only this path needs it). Truncation and padding
// are done here, since that package does neither.

export {
  type BatchEncoding,
  type BatchOptions,
  type EncodeOptions,
  type Encoding,
  SubwordTokenizer,
  type TruncationStrategy,
} from './subword'
export {
  type BytePairTrainingOptions,
  type SubwordProgress,
  type SubwordTrainingOptions,
  trainBPE,
  trainWordPiece,
  type WordPieceTrainingOptions,
} from './train'
