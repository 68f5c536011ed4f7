// Reviews as token ids: read, tokenized once into a file beside the results, and served from there.

import { data, text } from 'evenfold'
import { readParquet } from 'evenfold/parquet'
import { SubwordTokenizer } from 'evenfold/tokenizers'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { basename, extname, isAbsolute, join } from 'node:path'
import { refuse } from '../../examples/common/cli'

/** The columns of Amazon Polarity, for CSV files, which have no header. */
const CSV_COLUMNS = ['label', 'title', 'content']

const HELP =
  'The study used Amazon Polarity: train and test as .csv (no header; label 1 or 2, title, content) or .parquet (label 0 or 1, title, content)'

/** The file that holds a part: the one that was named, or `part` as .csv or .parquet. */
export function dataFile(folder: string | undefined, part: 'train' | 'test', named?: string): string {
  if (named !== undefined && isAbsolute(named)) return existing(named)
  if (folder === undefined)
    return refuse(`give --data FOLDER, or set EVENFOLD_DATA to the folder that holds amazon_reviews. ${HELP}`)
  if (named !== undefined) return existing(join(folder, named))
  const found = ['csv', 'parquet']
    .map((kind) => join(folder, `${part}.${kind}`))
    .find((path) => existsSync(path))
  return (
    found ?? refuse(`${folder} holds neither ${part}.csv nor ${part}.parquet; name one by --${part}. ${HELP}`)
  )
}

function existing(path: string): string {
  return existsSync(path) ? path : refuse(`${path}: there is no such file. ${HELP}`)
}

/** Reads a tokenizer.json and checks that it fits the models, whose id 0 is padding. */
export async function readTokenizer(path: string | undefined): Promise<SubwordTokenizer> {
  if (path === undefined)
    return refuse(
      'give --tokenizer tokenizer.json (that of bert-base-uncased in the study), or set EVENFOLD_DATA to the folder that holds bert_vocab',
    )
  if (!existsSync(path)) return refuse(`${path}: there is no such file; give --tokenizer tokenizer.json`)
  const tokenizer = new SubwordTokenizer(await readFile(path, 'utf8'))
  if (tokenizer.padId !== 0)
    return refuse(
      `${path}: padding is ${tokenizer.padId === undefined ? 'unknown' : `id ${tokenizer.padId}`}; expected id 0, which the study's models take for padding`,
    )
  return tokenizer
}

function readTexts(path: string, column: string | undefined): AsyncGenerator<data.TextExample> {
  const kind = extname(path)
  if (kind === '.parquet') return readParquet(path, column === undefined ? {} : { textColumn: column })
  if (kind !== '.csv')
    return refuse(`${path}: cannot tell the format; expected a file named .csv or .parquet`)
  const named = CSV_COLUMNS.indexOf(column ?? 'content')
  const textColumn = named > 0 ? named : Number(column)
  if (Number.isInteger(textColumn) && textColumn >= 0) return data.readCsv(path, { textColumn })
  return refuse(`--text-column is '${column}'; expected title, content, or the number of a column, from 0`)
}

export interface TextSource {
  path: string
  column: string | undefined
  /** Tokens of a text at most, [CLS] and [SEP] included; longer ones are cut. */
  length: number
  tokenizer: SubwordTokenizer
}

/** The samples of a file, by way of a file of tokens in `folder` that serves every later run on the same text. */
export async function tokenized(source: TextSource, folder: string): Promise<data.TokenCache> {
  const { path, column, length, tokenizer } = source
  const { size, mtimeMs } = await stat(path)
  const identity = JSON.stringify([size, mtimeMs, column, length, text.vocabularyHash(tokenizer)])
  const digest = createHash('sha256').update(identity).digest('hex').slice(0, 16)
  const cache = join(folder, `${basename(path)}-${digest}.tokens`)
  if (!existsSync(cache)) await data.TokenCache.write(cache, samples(source), { vocabulary: tokenizer })
  return data.TokenCache.open(cache, { vocabulary: tokenizer, offsets: true })
}

async function* samples({ path, column, length, tokenizer }: TextSource): AsyncGenerator<data.Sample> {
  for await (const { text, label } of readTexts(path, column))
    yield { ids: tokenizer.encode(text, { maxLength: length }).ids, label }
}

/** The same random `count` samples in every run, whatever its seed and the order of the file; all where there are no more. */
export function fixedSubset(source: data.SampleSource, count: number): data.SampleSource {
  if (count >= source.length) return source
  const { heldOut } = data.holdOut(source.length, { count, seed: 0 })
  return { length: count, get: (i) => source.get(heldOut[i]) }
}
