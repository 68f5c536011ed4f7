// Data sets, splits and the loader: what `evenfold` exports under `data`.

export { type Batch, batches } from './batches'
export { type CsvOptions, csvRows, readCsv } from './csv'
export type { ColumnOptions, Row, TextExample } from './examples'
export { type JsonlOptions, type JsonRecord, jsonlRecords, readJsonl } from './jsonl'
export {
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type HostBatch,
  type Sample,
  type SampleSource,
} from './loader'
export { IGNORED, type MaskedBatch, type MaskedLMOptions, maskedLM } from './masked-lm'
export type { RangeSource } from './ranges'
export { type DataSource, type Line, readLines, readText } from './source'
export { holdOut, reservoirSample, type Split, type SplitOptions } from './split'
export { type OpenTokenCacheOptions, TokenCache } from './token-cache'
export { readTsv, type TsvOptions, tsvRows } from './tsv'
