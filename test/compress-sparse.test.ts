// Files of masked models that hold the kept elements alone.
import * as ef from 'evenfold'
import { compress, nn } from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeSparse, encodeSparse, smallestFormat } from '../src/compress/sparse'

describe('parts of a tensor', () => {
  const tensors = fc
    .record({ rows: fc.integer({ min: 0, max: 6 }), columns: fc.integer({ min: 1, max: 300 }) })
    .chain(({ rows, columns }) =>
      fc.record({
        shape: fc.constant([rows, columns]),
        keep: fc.array(fc.integer({ min: 0, max: 1 }), {
          minLength: rows * columns,
          maxLength: rows * columns,
        }),
      }),
    )

  it('make it again, in either format', () => {
    fc.assert(
      fc.property(tensors, fc.constantFrom('bitmap' as const, 'csr' as const), ({ shape, keep }, format) => {
        const values = Float32Array.from(keep, (_, i) => i + 1)
        const stored = encodeSparse(format, values, shape, Uint8Array.from(keep))
        const parts = Object.fromEntries(Object.entries(stored).map(([name, { data }]) => [name, data]))
        const found = decodeSparse('w', { format, shape }, parts)
        expect([...found.keep]).toEqual(keep)
        expect([...found.values]).toEqual(keep.map((k, i) => (k ? i + 1 : 0)))
      }),
    )
  })

  it('take the fewest bytes', () => {
    fc.assert(
      fc.property(tensors, ({ shape, keep }) => {
        const kept = keep.filter((k) => k === 1).length
        const bytes = { dense: 4 * keep.length, bitmap: 0, csr: 0 }
        for (const format of ['bitmap', 'csr'] as const) {
          const parts = encodeSparse(format, new Float32Array(keep.length), shape, Uint8Array.from(keep))
          bytes[format] = Object.values(parts).reduce((n, { data }) => n + data.byteLength, 0)
        }
        expect(bytes[smallestFormat(shape, kept, 4)]).toBe(Math.min(...Object.values(bytes)))
      }),
    )
    const [wide, narrow] = [
      [768, 3072],
      [3072, 128],
    ]
    const size = 768 * 3072
    expect(smallestFormat(wide, size, 4)).toBe('dense')
    expect(smallestFormat(wide, size / 2, 4)).toBe('bitmap')
    expect(smallestFormat(wide, size / 100, 4)).toBe('csr')
    expect(smallestFormat(narrow, (3072 * 128) / 20, 4)).toBe('csr')
  })

  it.each([
    ['bits of another size', 'bitmap', { bits: [1, 0], values: [1] }],
    ['values that lack one', 'bitmap', { bits: [7], values: [1, 2] }],
    ['rows that do not end', 'csr', { rows: [0, 1, 1], columns: [0, 1], values: [1, 2] }],
    ['a column beyond the last', 'csr', { rows: [0, 1, 2], columns: [0, 3], values: [1, 2] }],
    ['columns out of order', 'csr', { rows: [0, 2, 2], columns: [1, 0], values: [1, 2] }],
  ] as const)('refuse %s', (_, format, parts) => {
    expect(() => decodeSparse('w', { format, shape: [2, 3] }, parts)).toThrow(/'w': its stored parts/)
  })
})

describe('sparse files', () => {
  const make = () =>
    new nn.Sequential(new nn.Linear(40, 30), new nn.ReLU(), new nn.Linear(30, 300, { bias: false }))

  it.each([0.1, 0.5, 0.9, 0.99, 1])(
    'of sparsity %d are the masked model, in fewer bytes',
    async (fraction) => {
      ef.manualSeed(1)
      const model = make()
      await compress.prune(model, { amount: { fraction }, scope: 'global' })
      const [dense, sparse] = [
        await compress.modelToBytes(model),
        await compress.modelToBytes(model, { sparse: true }),
      ]
      expect(sparse.byteLength).toBeLessThan(dense.byteLength)
      expect(await compress.modelByteLength(model, { sparse: true })).toBe(sparse.byteLength)
      const kept = (1 - fraction) * (40 * 30 + 30 * 300)
      expect(sparse.byteLength).toBeLessThan(4 * kept + (40 * 30 + 30 * 300) / 8 + 2000)
      const loaded = await compress.loadModel(sparse, make())
      expect(Object.keys(loaded.stateDict())).toEqual(Object.keys(model.stateDict()))
      const x = ef.randn([3, 40])
      expect(await loaded.forward(x).data()).toEqual(await model.forward(x).data())
      const masks = (m: nn.Module) =>
        Promise.all(
          nn.parametrizationsOf(m).map(({ parametrized }) => (parametrized.steps[0] as compress.Mask).keep()),
        )
      expect(await masks(loaded)).toEqual(await masks(model))
    },
  )

  it('of models without masks are like others', async () => {
    const model = make()
    const loaded = await compress.loadModel(await compress.modelToBytes(model, { sparse: true }), make())
    const x = ef.randn([3, 40])
    expect(await loaded.forward(x).data()).toEqual(await model.forward(x).data())
  })
})
