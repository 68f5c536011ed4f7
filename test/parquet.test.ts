// Parquet files of labelled texts: row groups, column types, sources, and files that are not as expected.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gzipSync, gunzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, it } from 'vitest'
import type { TextExample } from '../src/data'
import { FormatError } from '../src/errors'
import { type ParquetOptions, readParquet } from '../src/parquet'

type Columns = Parameters<typeof parquetWriteBuffer>[0]['columnData']
type WriteOptions = Omit<Parameters<typeof parquetWriteBuffer>[0], 'columnData'>

const parquet = (columnData: Columns, options: WriteOptions = {}) =>
  new Uint8Array(parquetWriteBuffer({ columnData, ...options }))

const texts = ['Loved it.', 'Bad, "bad"\nfilm', 'Größe 中国 🙂', 'fine', '']
const polarity: Columns = [
  { name: 'label', data: [1n, 0n, 1n, 1n, 0n], type: 'INT64' },
  { name: 'title', data: ['a', 'b', 'c', 'd', 'e'], type: 'STRING' },
  { name: 'content', data: texts, type: 'STRING' },
]
const file = parquet(polarity, { rowGroupSize: 2 })

async function all(
  source: Parameters<typeof readParquet>[0],
  options?: ParquetOptions,
): Promise<TextExample[]> {
  const found: TextExample[] = []
  for await (const example of readParquet(source, options)) found.push(example)
  return found
}
const expected = texts.map((text, i) => ({ text, label: [1, 0, 1, 1, 0][i]!, line: i + 1 }))

describe('readParquet', () => {
  it('reads label and content as Amazon Polarity has them, over several row groups', async () => {
    expect(await all(file)).toEqual(expected)
  })

  it('reads a path and a Blob alike', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-parquet-'))
    const name = path.join(folder, 'train.parquet')
    fs.writeFileSync(name, file)
    try {
      expect(await all(name)).toEqual(expected)
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
    expect(await all(new Blob([file]))).toEqual(expected)
  })

  it('reads one row group at a time, and only the columns it needs', async () => {
    const long = 'x'.repeat(100)
    const many = (n: number, of: (i: number) => string) => Array.from({ length: n }, (_, i) => of(i))
    const rows = 4000
    const big = parquet(
      [
        { name: 'label', data: many(rows, (i) => String(i % 2)), type: 'STRING' },
        { name: 'title', data: many(rows, (i) => `${i}${long.repeat(20)}`), type: 'STRING' },
        { name: 'content', data: many(rows, (i) => `${i}${long}`), type: 'STRING' },
      ],
      { rowGroupSize: 100, codec: 'UNCOMPRESSED' },
    )
    let read = 0
    class Counted extends Blob {
      override slice(start?: number, end?: number): Blob {
        read += end! - start!
        return super.slice(start, end)
      }
    }
    const examples = readParquet(new Counted([big]))
    await examples.next()
    const footer = 1 << 19
    expect(read - footer).toBeLessThan(big.byteLength / 40)
    let count = 1
    for await (const { text } of examples) expect(text.startsWith(`${count++}x`)).toBe(true)
    expect(count).toBe(rows)
  })

  it('takes other columns, labels of any kind, and data without labels', async () => {
    const source = parquet([
      { name: 'sentiment', data: ['neg', 'pos'], type: 'STRING' },
      { name: 'review', data: ['one', 'two'], type: 'STRING' },
    ])
    const columns = { textColumn: 'review', labelColumn: 'sentiment', labels: ['neg', 'pos'] }
    expect((await all(source, columns)).map(({ label }) => label)).toEqual([0, 1])
    expect(
      (await all(source, { textColumn: 'review', labelColumn: null })).map(({ label }) => label),
    ).toEqual([-1, -1])
    const int32 = parquet([
      { name: 'label', data: [0, 1], type: 'INT32' },
      { name: 'content', data: ['one', 'two'], type: 'STRING' },
    ])
    expect((await all(int32)).map(({ label }) => label)).toEqual([0, 1])
  })

  it('names the columns that are there where others were expected', async () => {
    const other = parquet([
      { name: 'stars', data: [1, 2], type: 'INT32' },
      { name: 'text', data: ['one', 'two'], type: 'STRING' },
    ])
    await expect(all(other)).rejects.toThrow(
      /^data: there is no column 'content', 'label'; the file has stars, text\. Expected label, title, content/,
    )
    await expect(all(other)).rejects.toBeInstanceOf(FormatError)
    await expect(all(file, { textColumn: 'body' })).rejects.toThrow(
      /no column 'body'; the file has label, title, content/,
    )
  })

  it('refuses unknown labels, missing values and columns of another type, with the row', async () => {
    await expect(all(file, { labels: ['1', '2'] })).rejects.toThrow(
      /data, line 2: unknown label '0'; expected one of 1, 2/,
    )
    const missing = parquet([
      { name: 'label', data: [0, 1], type: 'INT32' },
      { name: 'content', data: ['one', null], type: 'STRING', nullable: true },
    ])
    await expect(all(missing)).rejects.toThrow(/line 2: 'content' is missing, expected a string/)
    await expect(all(file, { textColumn: 'label' })).rejects.toThrow(
      /line 1: 'label' is a bigint, expected a string/,
    )
  })

  it('refuses a file that is not Parquet, is cut short or has no rows', async () => {
    const junk = new TextEncoder().encode('label,title,content\n1,a,b\n')
    await expect(all(junk)).rejects.toThrow(/^data: not a readable Parquet file: /)
    await expect(all(junk)).rejects.toBeInstanceOf(FormatError)
    await expect(all(file.subarray(0, file.length - 20))).rejects.toBeInstanceOf(FormatError)
    await expect(all(new Uint8Array(0))).rejects.toBeInstanceOf(FormatError)
    const empty = parquet(polarity.map((column) => ({ ...column, data: [] })))
    await expect(all(empty)).rejects.toThrow('data: it is empty')
  })

  it('says what to pass for a codec it does not know, and takes it', async () => {
    const compressors = { GZIP: (input: Uint8Array) => new Uint8Array(gzipSync(input)) }
    const zipped = parquet(polarity, { codec: 'GZIP', compressors })
    await expect(all(zipped)).rejects.toThrow(/compressed with GZIP; pass \{ compressors \}/)
    const GZIP = (input: Uint8Array) => new Uint8Array(gunzipSync(input))
    expect(await all(zipped, { compressors: { GZIP } })).toEqual(expected)
  })
})
