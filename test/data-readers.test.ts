import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { csvRows, type DataSource, readCsv, readJsonl, readLines, readTsv } from '../src/data'
import { ArgumentError, FormatError } from '../src/errors'

const utf8 = (text: string) => new TextEncoder().encode(text)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

/** The same bytes in chunks of the given size. */
async function* chunked(bytes: Uint8Array, size: number) {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}

const data = process.env.EVENFOLD_DATA

describe('readLines', () => {
  it('takes every kind of source and either line ending', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'evenfold-data-'))
    const text = '\ufeffone\r\nzwei – drei\n\nfour'
    const path = join(folder, 'lines.txt')
    await writeFile(path, text)
    const sources: DataSource[] = [path, new Blob([text]), utf8(text), { text }, new Blob([text]).stream()]
    for (const source of sources) {
      expect(await all(readLines(source))).toEqual([
        { text: 'one', line: 1 },
        { text: 'zwei – drei', line: 2 },
        { text: '', line: 3 },
        { text: 'four', line: 4 },
      ])
    }
    await rm(folder, { recursive: true })
  })

  it('does not depend on where chunks are cut', async () => {
    const lines = fc.array(
      fc.string({ unit: 'binary' }).map((s) => s.replace(/[\r\n\ufeff]/g, '')),
      { minLength: 1 },
    )
    await fc.assert(
      fc.asyncProperty(lines, fc.integer({ min: 1, max: 7 }), async (given, size) => {
        const found = await all(readLines(chunked(utf8(`${given.join('\n')}\n`), size)))
        const sent = new TextDecoder().decode(utf8(given.join('\n'))).split('\n') // lone surrogates replaced
        expect(found.map(({ text }) => text)).toEqual(sent)
      }),
    )
  })

  it.each([1, 2, 3, 5, 1000])('names the line of bad UTF-8, in chunks of %d', async (size) => {
    const bad = new Uint8Array([...utf8('ein 😀\nzwei €\ndr'), 0xff, ...utf8('ei\nvier\n'), 0xfe])
    await expect(all(readLines(chunked(bad, size)))).rejects.toThrow(/data, line 3: .*UTF-8/)
    const cut = utf8('eins\n€').slice(0, -1)
    await expect(all(readLines(chunked(cut, size)))).rejects.toThrow(/line 2: .*truncated/)
  })
})

describe('readTsv', () => {
  it('reads SST-2: header, label first, CRLF, quotes as they are', async () => {
    const text = 'label\tsentence\r\n1\tof "saucy\r\n0\t \'s bad\r\n'
    expect(await all(readTsv({ text }))).toEqual([
      { text: 'of "saucy', label: 1, line: 2 },
      { text: " 's bad", label: 0, line: 3 },
    ])
  })

  it('reads columns by name or index, other labels, and data without labels', async () => {
    const text = 'id\ttext\tclass\n7\thello\tgood\n8\tno\tbad\n'
    const named = { textColumn: 'text', labelColumn: 'class', labels: ['bad', 'good'] }
    expect((await all(readTsv({ text }, named))).map(({ label }) => label)).toEqual([1, 0])
    const unlabelled = await all(readTsv({ text: '1\tx\n' }, { header: false, labelColumn: null }))
    expect(unlabelled).toEqual([{ text: 'x', label: -1, line: 1 }])
  })

  it.each([
    ['an empty file', '', /r\.tsv: it is empty/],
    ['a header alone', 'label\tsentence\n', /no records after the header/],
    ['an unknown label', 'label\tsentence\n0\tx\n2\ty\n', /line 3: unknown label '2'; expected one of 0, 1/],
    ['a short row', 'label\tsentence\n0\tx\n\n1\n', /line 4: the row has 1 fields, expected 2/],
    ['a long row', 'label\tsentence\n0\tx\ty\n', /line 2: the row has 3 fields/],
  ])('%s is a FormatError that names file and line', async (_, text, message) => {
    const reading = () => all(readTsv({ text, name: 'r.tsv' }))
    await expect(reading()).rejects.toThrow(FormatError)
    await expect(reading()).rejects.toThrow(message)
  })

  it('names the columns there are when one is missing', async () => {
    const reading = all(readTsv({ text: 'label\ttext\n0\tx\n' }, { textColumn: 'sentence' }))
    await expect(reading).rejects.toThrow(/line 1: there is no column 'sentence'; the header has label, text/)
  })

  it('refuses a column name without a header', async () => {
    const reading = all(readTsv({ text: '0\tx\n' }, { header: false, textColumn: 'sentence' }))
    await expect(reading).rejects.toThrow(ArgumentError)
  })

  // Real data is not part of the project; EVENFOLD_DATA names its folder.
  it.skipIf(!data)('reads the published SST-2 files (needs EVENFOLD_DATA)', async () => {
    expect(await all(readTsv(join(data!, 'sst2/train.tsv')))).toHaveLength(67349)
    const dev = await all(readTsv(join(data!, 'sst2/dev.tsv')))
    expect(dev).toHaveLength(872)
    expect(dev.filter(({ label }) => label === 1)).toHaveLength(444)
  })
})

describe('readJsonl', () => {
  it('reads objects, blank lines aside', async () => {
    const text = '{"claim":"a","label":true}\n\n{"claim":"b","label":false}'
    const options = { textKey: 'claim', labels: ['false', 'true'] }
    expect(await all(readJsonl({ text }, options))).toEqual([
      { text: 'a', label: 1, line: 1 },
      { text: 'b', label: 0, line: 3 },
    ])
  })

  it.each([
    ['an empty file', '\n', /it is empty/],
    ['broken JSON', '{"text":"a","label":0}\n{"text":', /line 2: not valid JSON/],
    ['a list', '[1]', /line 1: expected a JSON object/],
    ['a missing text', '{"label":0}', /line 1: 'text' must be a string/],
    ['a key of the prototype', '{"text":"a"}', /line 1: 'label' must be/],
    ['an unknown label', '{"text":"a","label":"maybe"}', /unknown label 'maybe'/],
  ])('%s is a FormatError', async (_, text, message) => {
    await expect(all(readJsonl({ text }))).rejects.toThrow(FormatError)
    await expect(all(readJsonl({ text }))).rejects.toThrow(message)
  })

  it.skipIf(!data)('reads FEVER-symmetric (needs EVENFOLD_DATA)', async () => {
    const options = { textKey: 'claim', labelKey: 'gold_label', labels: ['SUPPORTS', 'REFUTES'] }
    expect(await all(readJsonl(join(data!, 'fever_symmetric/v0.2_dev.jsonl'), options))).toHaveLength(708)
  })
})

describe('readCsv', () => {
  it('reads Amazon Polarity as published: label, title, text; newlines in quotes', async () => {
    const text = '"2","A title","Some, ""quoted""\nlines"\r\n\r\n"1","T","bad"\r\n'
    expect(await all(readCsv({ text }))).toEqual([
      { text: 'Some, "quoted"\nlines', label: 1, line: 1 },
      { text: 'bad', label: 0, line: 4 },
    ])
    const titles = await all(readCsv({ text }, { textColumn: 1 }))
    expect(titles.map((example) => example.text)).toEqual(['A title', 'T'])
  })

  it('reads a header, a delimiter and other labels', async () => {
    const text = 'Text\tSentiment\n"a\tb"\tNegative\n'
    const options = { textColumn: 'Text', labelColumn: 'Sentiment', labels: ['Negative', 'Positive'] }
    const found = await all(readCsv({ text }, { ...options, header: true, delimiter: '\t' }))
    expect(found).toEqual([{ text: 'a\tb', label: 0, line: 2 }])
  })

  it.each([
    ['an empty file', '', /r\.csv: it is empty/],
    [
      'a lost column',
      '"1","t","x"\n"2","t"\n',
      /line 2: the row has 2 fields, expected 3 as in the first row/,
    ],
    ['too few columns', '"1","t"\n', /line 1: textColumn 2 is not among the 2 columns/],
    ['an unknown label', '"1","t","x"\n"3","t","x"\n', /line 2: unknown label '3'/],
    ['text after a quote', '"1","t","x"\n"2","t"y,"x"\n', /line 2: text after a closing quote/],
    ['a stray quote', '1,t,x\n2,t"y,x\n', /line 2: a quote inside a field that is not quoted/],
    ['a lone carriage return', '"1","t","x"\r"2","t","x"\n', /line 1: a carriage return without/],
    ['an unclosed quote', '"1","t","x"\n"2","t","x\n\n', /line 2: .*never closed/],
  ])('%s is a FormatError that names file and line', async (_, text, message) => {
    const reading = () => all(readCsv({ text, name: 'r.csv' }))
    await expect(reading()).rejects.toThrow(FormatError)
    await expect(reading()).rejects.toThrow(message)
  })

  it('an unclosed quote does not swallow a big file', async () => {
    let pieces = 0
    async function* endless() {
      yield utf8('"1","t","x\n')
      for (; ; pieces++) yield utf8('never closed\n'.repeat(5000))
    }
    await expect(all(readCsv(endless()))).rejects.toThrow(FormatError)
    expect(pieces).toBeLessThan(1000)
  })

  it('streams: the first records come before the source has ended', async () => {
    let given = 0
    async function* source() {
      for (; given < 1000; given++) yield utf8('"1","title","text"\n'.repeat(100))
    }
    for await (const { line } of readCsv(source())) if (line === 250) break
    expect(given).toBeLessThan(10)
  })

  it('reads back any fields that are quoted by the rules, wherever chunks are cut', async () => {
    const field = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '"', ',', '\n', '\r\n', ' ') })
    const table = fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 9 }), async (rows, size) => {
        const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
        const bytes = utf8(rows.map((row) => row.map(quote).join(',')).join('\n'))
        const found = await all(csvRows(chunked(bytes, size)))
        expect(found.map(({ fields }) => fields)).toEqual(rows)
        let line = 1
        for (const [i, row] of rows.entries()) {
          expect(found[i]!.line).toBe(line)
          line += row.join('').split('\n').length
        }
      }),
    )
  })

  it('agrees with csv-parse on any text, in what it reads and in what it refuses', async () => {
    const unit = fc.constantFrom('a', 'b', '"', ',', '\n', '\r\n')
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit, maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (text, size) => {
          const options = {
            relax_column_count: true,
            skip_empty_lines: true,
            record_delimiter: ['\r\n', '\n'],
          }
          let expected: string[][] | null = null
          try {
            expected = parse(text, options)
          } catch {}
          const reading = all(csvRows(chunked(utf8(text), size)))
          if (expected === null) await expect(reading).rejects.toThrow(FormatError)
          else expect((await reading).map(({ fields }) => fields)).toEqual(expected)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it.skipIf(!data)('reads the Amazon reviews (needs EVENFOLD_DATA)', async () => {
    const path = join(data!, 'amazon_reviews/test_short100.csv')
    const found = await all(readCsv(path))
    expect(found).toHaveLength(3125)
    const { readFile } = await import('node:fs/promises')
    const whole = parse(await readFile(path, 'utf8')) as string[][]
    expect(found.map(({ text }) => text)).toEqual(whole.map((row) => row[2]))
    const sample = join(data!, 'amazon_polarity_100/amazon_polarity_sample.csv')
    expect(await all(readCsv(sample, { header: true, labels: ['0', '1'] }))).toHaveLength(100)
  })
})

describe('memory', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'evenfold-data-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('a file of 20 MB is read in a few', async () => {
    const path = join(folder, 'big.tsv')
    await writeFile(path, `label\tsentence\n${`1\t${'word '.repeat(200)}\n`.repeat(20_000)}`)
    let count = 0
    let peak = 0
    const before = process.memoryUsage()
    for await (const example of readTsv(path)) {
      if (++count % 1000 === 0) {
        const now = process.memoryUsage()
        peak = Math.max(peak, now.heapUsed + now.arrayBuffers - before.heapUsed - before.arrayBuffers)
      }
      expect(example.label).toBe(1)
    }
    expect(count).toBe(20_000)
    expect(peak).toBeLessThan(64 * 2 ** 20)
  })
})
