// Labelled texts from a file, whose format its name tells.

import { data } from 'evenfold'
import { extname } from 'node:path'
import { refuse } from './cli'

/** What the classes are called in what the examples print. */
export const CLASSES = ['negative', 'positive']

/** A review and its class. */
export interface Review {
  text: string
  label: number
}

/**
 * Reads .csv (Amazon Polarity: label 1 or 2, title, text), .tsv (SST-2: a header, label 0 or 1, text) or .jsonl
 * (`{"text": …, "label": 0 or 1}`). `textColumn` is an index from 0, or a key of the JSON.
 */
export async function readReviews(path: string, textColumn?: string): Promise<Review[]> {
  const reviews: Review[] = []
  for await (const { text, label } of open(path, textColumn)) reviews.push({ text, label })
  return reviews
}

function open(path: string, column: string | undefined): AsyncGenerator<Review> {
  const kind = extname(path)
  if (kind === '.jsonl') return data.readJsonl(path, column === undefined ? {} : { textKey: column })
  const textColumn = column === undefined ? undefined : Number(column)
  if (textColumn !== undefined && !(Number.isInteger(textColumn) && textColumn >= 0)) {
    refuse(`--text-column is '${column}'; expected the number of a column, from 0`)
  }
  if (kind === '.csv') return data.readCsv(path, textColumn === undefined ? {} : { textColumn })
  if (kind === '.tsv') return data.readTsv(path, textColumn === undefined ? {} : { textColumn })
  return refuse(`${path}: cannot tell the format; expected a file named .csv, .tsv or .jsonl`)
}
