// Heat maps as their readers get them: every value in its place, in words and in colour.
import { describe, expect, it } from 'vitest'
import { ArgumentError } from '../src/errors'
import { heatMap, type HeatMapOptions } from '../src/report'
import { DARK, LIGHT } from '../src/report/palette'
import { parseXml, textOf } from './support/xml'

const options: HeatMapOptions = {
  title: 'Where it looked',
  rowLabel: 'output',
  columnLabel: 'input',
  rows: ['c', 'b', 'a'],
  columns: ['a', 'b'],
  values: [[0.1, 0.9], [0.5, 0.25], Float32Array.of(1, 0)],
}

/** The filled shapes of the cells, by place: the drawing's only rectangles of a colour of the ramp above the scale. */
function cells(svg: string, ramp: readonly string[]): string[] {
  const found = [...svg.matchAll(/<path d="M([\d.-]+) ([\d.-]+)[^"]*" fill="(#\w{6})"/g)]
    .filter(([, , , fill]) => ramp.includes(fill!))
    .map(([, x, y, fill]) => ({ x: Number(x), y: Number(y), fill: fill! }))
  const rows = [...new Set(found.map(({ y }) => y))].sort((a, b) => a - b)
  return rows.map((y) =>
    found
      .filter((cell) => cell.y === y)
      .sort((a, b) => a.x - b.x)
      .map(({ fill }) => ramp.indexOf(fill))
      .join(' '),
  )
}

describe('a heat map', () => {
  it('is well-formed XML with title, names and the number of every cell', () => {
    const texts = parseXml(heatMap(options)).all('text').map(textOf)
    expect(texts).toEqual(
      expect.arrayContaining([
        'Where it looked',
        'output',
        'input',
        'a',
        'b',
        'c',
        '0.10',
        '0.90',
        '0.50',
        '0.25',
        '1.00',
        '0.00',
      ]),
    )
    const whole = parseXml(heatMap({ ...options, digits: 0 }))
      .all('text')
      .map(textOf)
    expect(whole.filter((text) => /\d\.\d/.test(text))).toEqual([])
    expect(
      parseXml(heatMap({ ...options, digits: null }))
        .all('text')
        .map(textOf),
    ).not.toContain('0.10')
  })

  it('has the first row on top, and colours that grow with the value', () => {
    const [first, second, third] = cells(heatMap(options), LIGHT.ramp)
    expect([first, second, third]).toEqual(['0 7', '4 2', '7 0'])
  })

  it('takes the ends of the colours from the values, 0 among them, or from range', () => {
    expect(cells(heatMap({ ...options, range: [0, 2] }), LIGHT.ramp).slice(0, 3)).toEqual([
      '0 3',
      '2 1',
      '4 0',
    ])
    expect(
      cells(
        heatMap({
          ...options,
          values: [
            [-1, 0],
            [0, 0],
            [0, 1],
          ],
        }),
        LIGHT.ramp,
      ).slice(0, 3),
    ).toEqual(['0 4', '4 4', '4 7'])
    expect(
      cells(
        heatMap({
          ...options,
          values: [
            [0, 0],
            [0, 0],
            [0, 0],
          ],
        }),
        LIGHT.ramp,
      ).slice(0, 3),
    ).toEqual(['0 0', '0 0', '0 0'])
  })

  it('gives what lies outside of range the nearest colour', () => {
    expect(cells(heatMap({ ...options, range: [0.4, 0.6] }), LIGHT.ramp).slice(0, 3)).toEqual([
      '0 7',
      '4 0',
      '7 0',
    ])
  })

  it('writes on strong colours in another colour than on pale ones, in both schemes', () => {
    for (const [theme, scheme] of [
      ['light', LIGHT],
      ['dark', DARK],
    ] as const) {
      const texts = parseXml(heatMap({ ...options, theme })).all('text')
      const fillOf = (text: string) => texts.find((node) => textOf(node) === text)!.attributes.fill
      expect([fillOf('0.90'), fillOf('0.50'), fillOf('0.10')]).toEqual([
        scheme.onStrong,
        scheme.onStrong,
        scheme.text,
      ])
    }
  })

  it('turns dark with its reader, colour by colour', () => {
    const svg = heatMap(options)
    for (const [i, colour] of LIGHT.ramp.entries())
      expect(svg).toContain(`[fill="${colour}"]{fill:${DARK.ramp[i]}}`)
    expect(new Set([...LIGHT.ramp, ...LIGHT.series, ...Object.values(LIGHT)]).size).toBe(
      LIGHT.ramp.length + LIGHT.series.length + Object.keys(LIGHT).length,
    )
  })

  it('is described for those who cannot see it, and is the same text each time', () => {
    const root = parseXml(heatMap(options))
    expect(textOf(root.all('desc')[0]!)).toBe(
      'Greatest value of each row. c: 0.9 at b; b: 0.5 at a; a: 1 at a.',
    )
    expect(heatMap(options)).toBe(heatMap(options))
  })

  it('keeps names as they are: doubled, long, or with markup', () => {
    const names = ['<b>', 'twice', 'twice', 'quite a long name']
    const values = names.map(() => names.map(() => 0.5))
    const texts = parseXml(heatMap({ title: 'x', rows: names, columns: names, values }))
      .all('text')
      .map(textOf)
    for (const name of names)
      expect(texts.filter((text) => text === name).length).toBe(name === 'twice' ? 4 : 2)
  })

  it.each<[string, Partial<HeatMapOptions>, RegExp]>([
    ['no rows', { rows: [], values: [] }, /0 rows and 2 columns/],
    ['too few rows', { values: [[1, 2]] }, /values has 1 rows; expected 3/],
    ['a row of another width', { values: [[1, 2], [1], [1, 2]] }, /values\[1\] has 1 numbers; expected 2/],
    [
      'NaN',
      {
        values: [
          [1, 2],
          [1, Number.NaN],
          [1, 2],
        ],
      },
      /values\[1\] has NaN/,
    ],
    ['a range that is none', { range: [1, 1] }, /range is \[1, 1\]/],
    ['broken digits', { digits: 1.5 }, /digits is 1\.5/],
    ['an empty title', { title: ' ' }, /title is empty/],
  ])('refuses %s', (_, change, message) => {
    expect(() => heatMap({ ...options, ...change })).toThrow(ArgumentError)
    expect(() => heatMap({ ...options, ...change })).toThrow(message)
  })
})
