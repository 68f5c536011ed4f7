// Reports as their readers get them: one well-formed page that needs nothing else, in both colour schemes of a browser,
// and that no text can break out of.
import fc from 'fast-check'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ArgumentError } from '../src/errors'
import {
  type AttentionReading,
  htmlReport,
  type HtmlReportOptions,
  markdownTable,
  type ReportSection,
  writeReport,
} from '../src/report'
import { withPage } from './support/chromium'
import { parseXml, textOf, type XmlNode } from './support/xml'

const table = {
  columns: ['model', 'accuracy', 'parameters', 'note'],
  rows: [
    ['GRU', { share: 0.873, interval: [0.851, 0.892] as const }, 50450, 'with soft attention'],
    ['Transformer', { share: 0.5, interval: [0.25, 0.75] as const }, 1234567.891, ''],
  ],
}
const reading: AttentionReading = {
  by: 'GRU',
  answer: 'negative, probability 0.93',
  tokens: ['not', 'a', 'bad', 'film'],
  weights: [0.5, 0, 0.25, 0.05],
}
const chart = {
  title: 'Loss',
  xLabel: 'step',
  yLabel: 'nats',
  series: [
    {
      name: 'GRU',
      points: [
        [1, 1],
        [2, 0.5],
      ] as const,
    },
  ],
}
const report: HtmlReportOptions = {
  title: 'Good and bad reviews',
  summary: 'The GRU is right in 87.3 % of 1,000 reviews.',
  sections: [
    { kind: 'table', title: 'Results', note: '95 % intervals', ...table },
    { kind: 'charts', title: 'Learning curves', charts: [chart, { ...chart, title: 'Accuracy' }] },
    { kind: 'attention', title: 'Attention', texts: [{ label: 'a negative review', readings: [reading] }] },
    { kind: 'facts', title: 'Settings', facts: { seed: 0, reviews: 5000, device: 'cpu' } },
    { kind: 'text', title: 'How', paragraphs: ['First.', 'Second.'] },
  ],
}

function parse(options: HtmlReportOptions): XmlNode {
  const html = htmlReport(options)
  expect(html.startsWith('<!doctype html>\n')).toBe(true)
  return parseXml(html.slice('<!doctype html>\n'.length))
}
const classed = (root: XmlNode, name: string) =>
  root.all().filter((node) => node.attributes.class?.split(' ').includes(name))
const texts = (nodes: readonly XmlNode[]) => nodes.map(textOf)

describe('a report', () => {
  it('is a well-formed page with language, title, summary, and a heading for each section', () => {
    const root = parse(report)
    expect([root.name, root.attributes.lang]).toEqual(['html', 'en'])
    expect(parse({ ...report, lang: 'de' }).attributes.lang).toBe('de')
    expect(texts(root.all('title').slice(0, 1))).toEqual(['Good and bad reviews'])
    expect(texts(root.all('h1'))).toEqual(['Good and bad reviews'])
    expect(texts(classed(root, 'summary'))).toEqual([report.summary])
    expect(texts(root.all('h2'))).toEqual(report.sections.map(({ title }) => title))
    const labels = root.all('section').map((section) => section.attributes['aria-labelledby'])
    expect(labels).toEqual(root.all('h2').map((heading) => heading.attributes.id))
    const ids = root.all().flatMap((node) => node.attributes.id ?? [])
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('is the same text each time', () => {
    expect(htmlReport(report)).toBe(htmlReport(report))
  })

  it('has no script, and names nothing outside itself', () => {
    const root = parse(report)
    const outside = ['script', 'link', 'img', 'iframe', 'object', 'base', 'form', 'a', 'image', 'use']
    expect(root.all().filter(({ name }) => outside.includes(name))).toEqual([])
    const named = root.all().flatMap(({ attributes }) => Object.entries(attributes))
    expect(named.filter(([name]) => /^(on|src|href|xlink)/.test(name))).toEqual([])
    expect(texts(root.all('style')).join('')).not.toMatch(/@import|url\(/)
    const policy = root
      .all('meta')
      .find((meta) => meta.attributes['http-equiv'] === 'Content-Security-Policy')
    expect(policy?.attributes.content).toBe("default-src 'none'; style-src 'unsafe-inline'")
  })

  it('has its charts in it, drawn as lineChart draws them', () => {
    const root = parse(report)
    expect(root.all('svg').map((svg) => textOf(svg.all('title')[0]!))).toEqual(['Loss', 'Accuracy'])
  })

  it('has tables with headers, and an interval beside each share', () => {
    const root = parse(report)
    expect(texts(root.all('th').filter((th) => th.attributes.scope === 'col'))).toEqual(table.columns)
    const rows = root.all('tr').slice(1)
    expect(rows.map((row) => row.children.map((cell) => textOf(cell as XmlNode)))).toEqual([
      ['GRU', '87.3 % 85.1 to 89.2 %', '50,450', 'with soft attention'],
      ['Transformer', '50.0 % 25.0 to 75.0 %', '1,234,568', ''],
    ])
    expect(classed(rows[1]!, 'interval')[0]!.attributes.style).toBe('--low:25.00%;--high:75.00%;--at:50.00%')
    expect(rows[0]!.all('td').map((cell) => cell.attributes.class)).toEqual(['number', 'number', undefined])
  })

  it('marks words by their weight, relative to the largest, with the number as a tooltip', () => {
    const [, ...marked] = classed(parse(report), 'words').flatMap((words) => ['', ...words.all('span')]) as [
      string,
      ...XmlNode[],
    ]
    expect(texts(marked)).toEqual(reading.tokens)
    expect(marked.map((word) => word.attributes.style)).toEqual([
      '--a:1.000',
      '--a:0.000',
      '--a:0.500',
      '--a:0.100',
    ])
    expect(marked.map((word) => word.attributes.title)).toEqual(
      ['0.500', '0.000', '0.250', '0.050'].map((weight) => `weight ${weight}`),
    )
  })

  it('marks nothing where all weights are 0, and takes a text without words', () => {
    const sections = (one: Partial<AttentionReading>): ReportSection[] => [
      { kind: 'attention', title: 'a', texts: [{ label: 'b', readings: [{ ...reading, ...one }] }] },
    ]
    const nothing = parse({ title: 't', sections: sections({ weights: new Float32Array(4) }) })
    const [words] = classed(nothing, 'words')
    expect(words!.all('span').map((word) => word.attributes.style)).toEqual(Array(4).fill('--a:0.000'))
    const empty = parse({ title: 't', sections: sections({ tokens: [], weights: [] }) })
    expect(texts(classed(empty, 'words'))).toEqual([''])
  })

  it('shows facts and paragraphs', () => {
    const root = parse(report)
    expect(texts(root.all('dt'))).toEqual(['seed', 'reviews', 'device'])
    expect(texts(root.all('dd'))).toEqual(['0', '5,000', 'cpu'])
    expect(texts(root.all('section').at(-1)!.all('p'))).toEqual(['First.', 'Second.'])
  })

  it('lets no text become markup, wherever it stands', () => {
    const shape = (root: XmlNode) =>
      root.all().map(({ name, attributes }) => [name, ...Object.keys(attributes)].join(' '))
    const page = (text: string): HtmlReportOptions => ({
      title: text,
      summary: text,
      lang: text,
      sections: [
        { kind: 'text', title: text, note: text, paragraphs: [text] },
        { kind: 'facts', title: text, facts: { [text]: text } },
        { kind: 'table', title: text, columns: [text, text], rows: [[text, text]] },
        {
          kind: 'attention',
          title: text,
          texts: [{ label: text, readings: [{ by: text, answer: text, tokens: [text], weights: [1] }] }],
        },
      ],
    })
    const plain = shape(parse(page('t')))
    const attacks = fc.constantFrom(
      '<script>alert(1)</script>',
      '"><img src=x onerror=alert(1)>',
      "' onmouseover='x",
      '</style><b>',
      '</title><b>',
      ']]>',
      '<!--',
      '&lt;b&gt;',
      '--a:1;"',
      '\u0000',
      '\ud800',
    )
    fc.assert(
      fc.property(fc.oneof(attacks, fc.string({ unit: 'binary', maxLength: 40 })), (text) => {
        const root = parse(page(`t${text}`))
        expect(shape(root)).toEqual(plain)
        const clean = `t${text}`.replace(/(?![\t\n\r])\p{Cc}|\p{Surrogate}|[\ufffe\uffff]/gu, '\ufffd')
        for (const node of [root.all('h1')[0]!, root.all('dt')[0]!, ...root.all('th'), ...root.all('h2')])
          expect(textOf(node)).toBe(clean)
      }),
    )
  })

  it.each<[string, Partial<HtmlReportOptions>, RegExp]>([
    ['no title', { title: ' ' }, /htmlReport: title is empty/],
    [
      'a section without title',
      { sections: [{ kind: 'text', title: '', paragraphs: [] }] },
      /section 0 has an empty title/,
    ],
    [
      'an unknown section',
      { sections: [{ kind: 'video', title: 'x' } as unknown as ReportSection] },
      /unknown kind of section 'video'; expected text, facts/,
    ],
    [
      'a table without columns',
      { sections: [{ kind: 'table', title: 'x', columns: [], rows: [] }] },
      /no columns/,
    ],
    [
      'a row of another length',
      { sections: [{ kind: 'table', title: 'x', columns: ['a'], rows: [['a', 'b']] }] },
      /row 0 has 2 cells; expected 1/,
    ],
    [
      'a share outside its interval',
      {
        sections: [
          { kind: 'table', title: 'x', columns: ['a'], rows: [[{ share: 0.9, interval: [0.1, 0.2] }]] },
        ],
      },
      /share of 0.9 with the interval \[0.1, 0.2\]/,
    ],
    [
      'a share that is NaN',
      {
        sections: [
          { kind: 'table', title: 'x', columns: ['a'], rows: [[{ share: Number.NaN, interval: [0, 1] }]] },
        ],
      },
      /share of NaN/,
    ],
    [
      'weights for other words',
      {
        sections: [
          { kind: 'attention', title: 'x', texts: [{ label: '', readings: [{ ...reading, weights: [1] }] }] },
        ],
      },
      /'GRU' has 1 weights for 4 tokens/,
    ],
    [
      'a negative weight',
      {
        sections: [
          {
            kind: 'attention',
            title: 'x',
            texts: [{ label: '', readings: [{ ...reading, weights: [1, 1, 1, -1] }] }],
          },
        ],
      },
      /'GRU' has a weight of -1/,
    ],
    [
      'a weight that is NaN',
      {
        sections: [
          {
            kind: 'attention',
            title: 'x',
            texts: [{ label: '', readings: [{ ...reading, weights: [1, 1, 1, Number.NaN] }] }],
          },
        ],
      },
      /'GRU' has a weight of NaN/,
    ],
  ])('refuses %s', (_, change, message) => {
    expect(() => htmlReport({ ...report, ...change })).toThrow(ArgumentError)
    expect(() => htmlReport({ ...report, ...change })).toThrow(message)
  })
})

describe('a report in Chromium', () => {
  it.each(['light', 'dark'] as const)(
    'reads well in %s: no error, no request, nothing runs over',
    async (colorScheme) => {
      const site = new Map([['/', htmlReport(report)]])
      await withPage(site, async (page) => {
        const requests: string[] = []
        const complaints: string[] = []
        page.on('request', (request) => requests.push(request.url()))
        page.on('console', (message) => complaints.push(message.text()))
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize({ width: 1280, height: 900 })
        await page.reload()
        expect(requests).toEqual([page.url()])

        // As the browser paints them: luminances (WCAG 2) of a text and of what is behind it.
        const contrasts = await page.evaluate(() => {
          const channel = (c: number) =>
            c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4
          const luminance = (colour: string) => {
            const [r, g, b] = colour.match(/[\d.]+/g)!.map(Number)
            return 0.2126 * channel(r!) + 0.7152 * channel(g!) + 0.0722 * channel(b!)
          }
          const contrast = (a: string, b: string) => {
            const [x, y] = [luminance(a), luminance(b)]
            return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05)
          }
          const style = (selector: string) => getComputedStyle(document.querySelector(selector)!)
          const surface = style('section').backgroundColor
          return {
            page: luminance(style('body').backgroundColor),
            text: contrast(style('td').color, surface),
            aside: contrast(style('.aside').color, surface),
            chart: contrast(style('svg text').fill, style('svg rect').fill),
            line: contrast(style('svg path[stroke-linejoin]').stroke, style('svg rect').fill),
          }
        })
        expect(contrasts.page < 0.1).toBe(colorScheme === 'dark')
        expect(contrasts.text).toBeGreaterThan(7)
        expect(contrasts.aside).toBeGreaterThan(4.5)
        expect(contrasts.chart).toBeGreaterThan(4.5)
        expect(contrasts.line).toBeGreaterThan(3)

        for (const width of [360, 1280]) {
          await page.setViewportSize({ width, height: 900 })
          expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
        }
        expect(complaints).toEqual([])
      })
    },
  )
})

describe('a Markdown table', () => {
  it('aligns numbers and gives each share its interval', () => {
    expect(markdownTable(table)).toBe(
      '| model | accuracy | parameters | note |\n' +
        '| --- | --: | --: | --- |\n' +
        '| GRU | 87.3 % (85.1 to 89.2 %) | 50,450 | with soft attention |\n' +
        '| Transformer | 50.0 % (25.0 to 75.0 %) | 1,234,568 |  |\n',
    )
  })

  it('keeps texts from being markup', () => {
    const rows = [['a|b', 'c\nd', '<b>x</b> `y` *z* [u](v) &amp; \\']]
    expect(markdownTable({ columns: ['1', '2', '3'], rows }).split('\n')[2]).toBe(
      '| a\\|b | c d | \\<b\\>x\\</b\\> \\`y\\` \\*z\\* \\[u\\](v) \\&amp; \\\\ |',
    )
  })

  it('refuses what is no table', () => {
    expect(() => markdownTable({ columns: ['a'], rows: [[]] })).toThrow(/row 0 has 0 cells; expected 1/)
  })
})

describe('writing a report', () => {
  it('makes the folder, writes UTF-8, and replaces the file as a whole', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'evenfold-report-'))
    try {
      const path = join(folder, 'runs/report.html')
      await writeReport(path, 'old')
      await writeReport(path, 'neu – ü')
      expect(await readFile(path, 'utf8')).toBe('neu – ü')
      expect(await readdir(join(folder, 'runs'))).toEqual(['report.html'])
      await writeFile(join(folder, 'file'), '')
      await expect(writeReport(join(folder, 'file/report.html'), 'x')).rejects.toThrow(
        /Cannot write '.*file\/report.html'/,
      )
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
