// Charts as their readers get them: SVG that is XML, says everything it shows, and is the same text each time.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError } from '../src/errors'
import { DARK, LIGHT } from '../src/report/palette'
import { lineChart, type LineChartOptions } from '../src/report'
import { parseXml, textOf } from './support/xml'

const options: LineChartOptions = {
  title: 'Loss by model',
  xLabel: 'step',
  yLabel: 'cross-entropy (nats)',
  series: [
    { name: 'GRU, training', points: Array.from({ length: 100 }, (_, i) => [i, 1 / (i + 1)]) },
    {
      name: 'GRU, unseen',
      points: [
        [0, 1],
        [50, 0.4],
        [99, 0.3],
      ],
      color: 0,
      dashed: true,
    },
    {
      name: 'Transformer',
      points: [
        [0, 0.9],
        [99, 0.2],
      ],
    },
  ],
}

/** Paths that have a colour as their stroke. */
const strokes = (svg: string, colour: string) => [
  ...svg.matchAll(new RegExp(`<path[^>]*stroke="${colour}"[^>]*>`, 'g')),
]
const lines = (svg: string, colour: string) =>
  strokes(svg, colour).filter(([path]) => path.includes('stroke-linejoin'))

describe('a line chart', () => {
  it('is well-formed XML with title, axis names, ticks and a legend of every series', () => {
    const root = parseXml(lineChart(options))
    expect(root.name).toBe('svg')
    expect(root.attributes).toMatchObject({
      role: 'img',
      width: '720',
      height: '400',
      viewBox: '0 0 720 400',
    })
    const texts = root.all('text').map(textOf)
    expect(texts).toEqual(
      expect.arrayContaining(['Loss by model', 'step', 'cross-entropy (nats)', '0', '20', '0.2', '0.4']),
    )
    for (const { name } of options.series) expect(texts).toContain(name)
  })

  it('is described for those who cannot see it', () => {
    const root = parseXml(lineChart(options))
    const [title, desc] = [root.all('title')[0]!, root.all('desc')[0]!]
    expect(root.attributes['aria-labelledby']).toBe(`${title.attributes.id} ${desc.attributes.id}`)
    expect(textOf(title)).toBe('Loss by model')
    expect(textOf(desc)).toBe(
      'cross-entropy (nats) by step. GRU, training: 0.01 at 99, the last of 100 points; ' +
        'GRU, unseen: 0.3 at 99, the last of 3 points; Transformer: 0.2 at 99, the last of 2 points.',
    )
  })

  it('draws one line a series, in its colour, dashed where asked', () => {
    const svg = lineChart(options)
    const blue = lines(svg, LIGHT.series[0]!)
    expect(blue.map(([path]) => path.includes('stroke-dasharray'))).toEqual([false, true])
    expect(lines(svg, LIGHT.series[1]!)).toHaveLength(0)
    expect(lines(svg, LIGHT.series[2]!)).toHaveLength(1)
  })

  it('draws lines with hollow markers in their colours too', () => {
    const series = LIGHT.series.map((_, i) => ({
      name: `run ${i}`,
      points: [
        [0, i],
        [1, i + 1],
      ] as const,
    }))
    const svg = lineChart({ ...options, series, theme: 'light' })
    for (const colour of LIGHT.series) expect(lines(svg, colour), colour).toHaveLength(1)
  })

  it('is the same text each time, and charts of one page share no names', () => {
    const [first, second] = [lineChart(options), lineChart(options)]
    expect(second).toBe(first)
    const ids = (svg: string) => [...svg.matchAll(/\bid="([^"]*)"/g)].map(([, id]) => id)
    const other = lineChart({ ...options, yLabel: 'loss' })
    expect(ids(first).filter((id) => ids(other).includes(id))).toEqual([])
    expect(new Set(ids(first)).size).toBe(ids(first).length)
  })

  it('has the colours of its theme; by default light ones that turn dark with the reader', () => {
    const used = (svg: string) => new Set(svg.match(/(?<=(fill|stroke)=")#\w{6}(?=")/g))
    const light = used(lineChart({ ...options, theme: 'light' }))
    const dark = used(lineChart({ ...options, theme: 'dark' }))
    expect(light).toContain(LIGHT.background)
    expect([...light].filter((colour) => Object.values(DARK).includes(colour))).toEqual([])
    expect(dark).toContain(DARK.background)
    expect([...dark].filter((colour) => Object.values(LIGHT).includes(colour))).toEqual([])

    const auto = lineChart(options)
    expect(lineChart({ ...options, theme: 'light' })).not.toContain('prefers-color-scheme')
    expect(auto).toContain('@media (prefers-color-scheme:dark)')
    for (const colour of ['background', 'text', 'muted', 'grid'] as const)
      expect(auto).toContain(`[fill="${LIGHT[colour]}"]{fill:${DARK[colour]}}`)
  })

  it('asks for nothing from outside and runs nothing', () => {
    const root = parseXml(lineChart(options))
    for (const node of root.all()) {
      expect(['script', 'image', 'foreignObject', 'a', 'use']).not.toContain(node.name)
      const values = Object.entries(node.attributes).filter(([name]) => name !== 'xmlns')
      expect(values.filter(([name, value]) => /^on/i.test(name) || /:\/\/|url\((?!#)/.test(value))).toEqual(
        [],
      )
    }
  })

  it('leaves a gap where a value is not finite, and marks a point that has no neighbour', () => {
    const points: [number, number][] = [
      [0, 1],
      [1, 2],
      [2, Number.NaN],
      [3, 1],
      [4, Number.POSITIVE_INFINITY],
      [5, 2],
      [6, 3],
    ]
    const svg = lineChart({ ...options, series: [{ name: 'a', points }] })
    const [path] = lines(svg, LIGHT.series[0]!)[0]!
    expect(path.match(/ d="([^"]*)"/)![1]!.match(/M/g)!.length).toBe(2 + 1)
    const alone = lineChart({
      ...options,
      series: [{ name: 'a', points: Array.from({ length: 100 }, (_, x) => [x, x === 7 ? 1 : Number.NaN]) }],
    })
    // One marker in the drawing, one in the legend.
    expect(alone.match(new RegExp(`<path[^>]*fill="${LIGHT.series[0]}"`, 'g'))).toHaveLength(2)
  })

  it('keeps to a range of y that is given', () => {
    const ticks = (svg: string) => parseXml(svg).all('text').map(textOf)
    expect(ticks(lineChart({ ...options, yRange: [0.25, 0.75] }))).toEqual(
      expect.arrayContaining(['0.25', '0.75']),
    )
    expect(ticks(lineChart({ ...options, yRange: [0.25, 0.75] }))).not.toContain('1')
  })

  it('makes room for a legend of many lines', () => {
    const series = Array.from({ length: 14 }, (_, i) => ({
      name: `model number ${i}`,
      points: [
        [0, i],
        [1, i],
      ] as const,
    }))
    const svg = lineChart({ ...options, series })
    const texts = parseXml(svg).all('text')
    const at = (text: string) =>
      Number(
        /translate\([\d.]+ ([\d.]+)\)/.exec(texts.find((t) => textOf(t) === text)!.attributes.transform!)![1],
      )
    const label = at('step')
    for (const { name } of series) {
      expect(at(name)).toBeGreaterThan(label + 8)
      expect(at(name)).toBeLessThan(395)
    }
    // Past the palette's end, lines of one colour differ in their pattern.
    expect(lines(svg, LIGHT.series[0]!).map(([path]) => path.includes('stroke-dasharray'))).toEqual([
      false,
      true,
    ])
  })

  it('stays well-formed and says exactly what it was told, whatever the texts are', () => {
    const awkward = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
      fc.constantFrom(
        '<b>',
        '"onload="x',
        ']]>',
        '&amp;',
        '{a|b}',
        '\u0000',
        '\ud800',
        'zr0-c0',
        '__proto__',
        '<script>x</script>',
      ),
    )
    fc.assert(
      fc.property(awkward, awkward, awkward, (title, xLabel, name) => {
        const texts = [title, xLabel, name].map((text) => `t${text}`)
        const svg = lineChart({
          ...options,
          title: texts[0]!,
          xLabel: texts[1]!,
          series: [
            {
              name: texts[2]!,
              points: [
                [0, 1],
                [1, 2],
              ],
            },
          ],
        })
        const root = parseXml(svg)
        expect(new Set(root.all().map((node) => node.name))).toEqual(
          new Set(['svg', 'title', 'desc', 'style', 'rect', 'path', 'text', 'g', 'defs', 'clipPath']),
        )
        const clean = texts[0]!.replace(/(?![\t\n\r])\p{Cc}|\p{Surrogate}|[\ufffe\uffff]/gu, '\ufffd')
        expect(textOf(root.all('title')[0]!)).toBe(clean)
      }),
      { numRuns: 60 },
    )
  })

  it.each<[string, Partial<LineChartOptions>, RegExp]>([
    ['no series', { series: [] }, /series is empty; expected at least one line/],
    [
      'a series without points',
      { series: [{ name: 'a', points: [] }] },
      /series 'a' has 0 points, none of them finite/,
    ],
    [
      'a series of NaN',
      { series: [{ name: 'a', points: [[1, Number.NaN]] }] },
      /has 1 points, none of them finite; leave it out/,
    ],
    [
      'an x that is not finite',
      { series: [{ name: 'a', points: [[Number.NaN, 1]] }] },
      /'a' has a point with x = NaN/,
    ],
    ['a name twice', { series: [options.series[2]!, options.series[2]!] }, /'Transformer' occurs twice/],
    ['a series without name', { series: [{ name: ' ', points: [[1, 1]] }] }, /the name of a series is empty/],
    [
      'a colour that is none',
      { series: [{ name: 'a', points: [[1, 1]], color: -1 }] },
      /color is -1; expected a whole number/,
    ],
    ['an empty title', { title: '' }, /title is empty/],
    ['an empty axis name', { yLabel: '' }, /yLabel is empty/],
    [
      'a range that is none',
      { yRange: [1, 1] },
      /yRange is \[1, 1\]; expected \[low, high\] with low < high/,
    ],
    ['a width without room', { width: 20 }, /width is 20; expected a whole number of pixels, 200 to 10000/],
    [
      'an unknown theme',
      { theme: 'sepia' as 'dark' },
      /theme is 'sepia'; expected 'light', 'dark' or 'auto'/,
    ],
  ])('refuses %s', (_, change, message) => {
    expect(() => lineChart({ ...options, ...change })).toThrow(ArgumentError)
    expect(() => lineChart({ ...options, ...change })).toThrow(message)
  })
})
