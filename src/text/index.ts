// Tokenizers and vocabularies.

export { type Tokenizer, tokenize } from './tokenize'
export {
  PAD_ID,
  type TrainVocabularyOptions,
  UNK_ID,
  Vocabulary,
  type VocabularyJSON,
  type VocabularyOptions,
} from './vocabulary'
export { checkVocabulary, type TokenList, vocabularyHash } from './vocabulary-check'
