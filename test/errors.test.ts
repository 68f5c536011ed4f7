// Bad calls: each throws an error of its own type that names the op, what was given and what to do.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

const x = ef.ones([2, 3])
const ints = ef.tensor([1, 2], { dtype: 'int32' })
const bools = ef.tensor([true, false])
const cube = ef.ones([2, 3, 4])

const CASES: [string, () => unknown, new (...a: never[]) => Error, RegExp][] = [
  [
    'shapes that do not broadcast',
    () => x.add(ef.ones([2])),
    ef.ShapeError,
    /add.*\[2, 3\] and \[2\].*axis -1 is 3 and 2/,
  ],
  ['a third operand that does not broadcast', () => ef.where(ef.ones([4]), x, x), ef.ShapeError, /where/],
  [
    'matmul of shapes that do not fit',
    () => x.matmul(x),
    ef.ShapeError,
    /matmul.*\[2, 3\] and \[2, 3\].*\(3\).*\(2\)/,
  ],
  ['matmul of a scalar', () => x.matmul(ef.tensor(1)), ef.ShapeError, /at least one axis/],
  ['matmul of batches that do not broadcast', () => cube.matmul(ef.ones([3, 4, 2])), ef.ShapeError, /matmul/],
  ['matmul of integers', () => ints.matmul(ints), ef.DTypeError, /int32/],
  [
    'matmul of two dtypes',
    () => x.matmul(ef.ones([3, 1], { dtype: 'float64' })),
    ef.DTypeError,
    /float32 and float64/,
  ],
  ['a dim out of range', () => x.sum(2), ef.ArgumentError, /dim 2.*2 axes.*-2 to 1/],
  ['a dim named twice', () => x.sum([0, -2]), ef.ArgumentError, /twice/],
  ['a fractional dim', () => x.softmax(0.5), ef.ArgumentError, /0\.5/],
  ['mean of integers', () => ints.mean(), ef.DTypeError, /mean.*int32.*to\('float32'\)/],
  ['softmax of booleans', () => bools.softmax(0), ef.DTypeError, /softmax.*bool/],
  ['the largest of nothing', () => ef.zeros([0]).amax(), ef.ShapeError, /size 0/],
  ['argmax of nothing', () => ef.zeros([2, 0]).argmax(1), ef.ShapeError, /argmax/],
  ['argmax of an empty tensor', () => ef.zeros([0]).argmax(), ef.ShapeError, /no elements/],
  ['a norm that is none', () => x.norm({ p: 0 }), ef.ArgumentError, /p is 0/],
  ['clamp without bounds', () => x.clamp({}), ef.ArgumentError, /min, max or both/],
  ['a fraction added to integers', () => ints.add(0.5), ef.DTypeError, /0\.5.*int32.*to\('float32'\)/],
  ['a number that int32 cannot hold', () => ints.add(2 ** 40), ef.DTypeError, /1099511627776/],
  ['a fraction chosen among integers', () => ef.where(bools, ints, 0.5), ef.DTypeError, /0\.5/],
  ['an operand that is no tensor', () => x.add('1' as never), ef.ArgumentError, /add.*string/],
  ['a missing operand', () => x.add(undefined as never), ef.ArgumentError, /add.*undefined/],
  ['no tensor at all', () => ef.add(1, 2), ef.ArgumentError, /at least one/],
  ['reshape to another size', () => x.reshape([4]), ef.ShapeError, /reshape.*6.*4/],
  ['reshape with two unknowns', () => x.reshape([-1, -1]), ef.ShapeError, /more than one -1/],
  ['reshape with an unknown that does not divide', () => x.reshape([4, -1]), ef.ShapeError, /infer/],
  ['reshape to a negative size', () => x.reshape([-2, -3]), ef.ShapeError, /non-negative/],
  ['expand of an axis that is not 1', () => x.expand([4, 3]), ef.ShapeError, /only size 1/],
  ['expand to fewer axes', () => x.expand([3]), ef.ShapeError, /fewer axes/],
  ['permute that forgets an axis', () => x.permute([0]), ef.ArgumentError, /each of the 2 axes/],
  ['permute that repeats an axis', () => x.permute([0, 0]), ef.ArgumentError, /each of the 2 axes/],
  ['flatten back to front', () => x.flatten(1, 0), ef.ArgumentError, /after/],
  ['slice with an index out of range', () => x.slice(2), ef.ArgumentError, /index 2.*axis 0 of size 2/],
  ['slice of too many axes', () => x.slice(0, 0, 0), ef.ArgumentError, /3 arguments.*2 axes/],
  ['slice with a negative step', () => x.slice([0, 2, -1]), ef.ArgumentError, /flip/],
  ['slice with a fractional position', () => x.slice([0.5, 2]), ef.ArgumentError, /0\.5/],
  ['slice with NaN', () => x.slice([0, Number.NaN]), ef.ArgumentError, /NaN/],
  ['narrow beyond the end', () => x.narrow(1, 2, 2), ef.ArgumentError, /narrow.*axis 1 of size 3/],
  ['select out of range', () => x.select(1, 3), ef.ArgumentError, /3/],
  ['cat of nothing', () => ef.cat([]), ef.ArgumentError, /at least one/],
  ['stack of nothing', () => ef.stack([]), ef.ArgumentError, /at least one/],
  ['cat of shapes that differ', () => ef.cat([x, ef.ones([2, 4])]), ef.ShapeError, /\[2, 3\] and \[2, 4\]/],
  ['cat of dtypes that differ', () => ef.cat([ints, ef.ones([1])]), ef.DTypeError, /int32 and float32/],
  ['cat of scalars', () => ef.cat([ef.tensor(1), ef.tensor(2)]), ef.ShapeError, /stack/],
  ['split into parts of nothing', () => x.split(0), ef.ArgumentError, /positive/],
  ['split into sizes that do not add up', () => x.split([1, 2]), ef.ArgumentError, /add up to 2/],
  ['split into fractions', () => x.split([0.5, 1.5]), ef.ArgumentError, /0\.5/],
  ['chunk into none', () => x.chunk(0), ef.ArgumentError, /positive/],
  ['gather by floats', () => x.gather(0, ef.zeros([1, 3])), ef.DTypeError, /int32/],
  ['gather with an index of another rank', () => x.gather(0, ints), ef.ShapeError, /\[2\].*\[2, 3\]/],
  [
    'gather with a longer index',
    () => x.gather(0, ef.zeros([1, 4], { dtype: 'int32' })),
    ef.ShapeError,
    /\[1, 4\]/,
  ],
  [
    'gather out of range',
    () => x.gather(0, ef.full([1, 3], 2, { dtype: 'int32' }).clone()),
    ef.IndexError,
    /2/,
  ],
  [
    'indexSelect out of range',
    () => x.indexSelect(1, ef.tensor([0, 3], { dtype: 'int32' })),
    ef.IndexError,
    /3.*0 to 2/,
  ],
  [
    'indexSelect with a negative id',
    () => x.indexSelect(1, ef.tensor([-1], { dtype: 'int32' })),
    ef.IndexError,
    /-1/,
  ],
  [
    'scatterAdd of another shape',
    () => x.scatterAdd(0, ef.zeros([1, 3], { dtype: 'int32' }), ef.ones([1, 2])),
    ef.ShapeError,
    /\[1, 2\]/,
  ],
  ['scatterAdd into integers', () => ints.scatterAdd(0, ints, ints), ef.DTypeError, /int32/],
  ['tril of a vector', () => ints.tril(), ef.ShapeError, /2 axes/],
  ['oneHot of floats', () => x.oneHot(2), ef.DTypeError, /int32/],
  ['oneHot of an id beyond the classes', () => ints.oneHot(2), ef.IndexError, /2/],
  ['oneHot of unknown ids without a count', () => ints.add(0).oneHot(), ef.ShapeError, /number of classes/],
  ['an unknown dtype', () => x.to('float16' as never), ef.DTypeError, /float16/],
  [
    'copy_ of a shape that does not fit',
    () => ef.zeros([2]).copy_(ef.ones([3])),
    ef.ShapeError,
    /copy_|expand/,
  ],
  [
    'a fraction filled into integers',
    () => ef.zeros([2], { dtype: 'int32' }).fill_(0.5),
    ef.DTypeError,
    /0\.5/,
  ],
  ['fuse without operands', () => ef.fuse((a) => a)(), ef.ArgumentError, /at least one/],
  [
    'fuse of more tensors than a kernel can touch',
    () => ef.fuse((...a) => a.reduce((p, q) => p.mul(q)))(...new Array<ef.Tensor>(7).fill(x)),
    ef.ArgumentError,
    /7.*at most 6/,
  ],
]

describe('a bad call throws', () => {
  it.each(CASES)('%s', (_, call, type, message) => {
    expect(call).toThrow(type)
    expect(call).toThrow(message)
    expect(call).toThrow(ef.EvenfoldError)
  })
})

describe('errors', () => {
  it('carry their own name and kin', () => {
    const error = new ef.OutOfMemoryError('full', { cause: 1 })
    expect([
      error.name,
      error instanceof ef.DeviceError,
      error instanceof ef.EvenfoldError,
      error.cause,
    ]).toEqual(['OutOfMemoryError', true, true, 1])
  })

  it('leave nothing behind', () => {
    const before = ef.memory().cpu.tensors
    for (const [, call] of CASES.filter(([name]) => /matmul|slice|reshape|clamp|sum/.test(name))) {
      ef.tidy(() => {
        expect(call).toThrow()
      })
    }
    expect(ef.memory().cpu.tensors).toBe(before)
  })
})

onDevices('ids out of range', ({ device }) => {
  const table = (): ef.Tensor => ef.arange(6, { dtype: 'float32' }).reshape([3, 2])

  it('known from the host: refused before anything runs', () => {
    expect(() => table().indexSelect(0, ef.tensor([[0], [3]], { dtype: 'int32' }))).toThrow(ef.IndexError)
    const view = ef.tensor([0, 5], { dtype: 'int32' }).reshape([2, 1]).expand([2, 2])
    expect(() => table().gather(0, view.clone())).toThrow(ef.IndexError)
  })

  it('computed on the device: reported at the call on the cpu, at the next read on webgpu', async () => {
    const late = async (): Promise<unknown> =>
      table()
        .indexSelect(0, ef.tensor([1, 2], { dtype: 'int32' }).add(1))
        .data()
    await expect(late).rejects.toThrow(ef.IndexError)
    // Reported once; the device goes on working.
    expect(
      await table()
        .indexSelect(0, ef.tensor([0, 1], { dtype: 'int32' }).add(1))
        .tolist(),
    ).toEqual([
      [2, 3],
      [4, 5],
    ])
    expect(device).toBe(ef.defaultDevice())
  })

  it('of a part of a tensor do not accuse the part', async () => {
    const ids = ef.tensor([0, 9], { dtype: 'int32' })
    expect(
      await table()
        .indexSelect(0, ids.narrow(0, 0, 1))
        .tolist(),
    ).toEqual([[0, 1]])
    await expect(async () =>
      table()
        .indexSelect(0, ids.narrow(0, 1, 1))
        .data(),
    ).rejects.toThrow(ef.IndexError)
    const copies = [ids.narrow(0, 0, 1).clone(), ef.zeros([1], { dtype: 'int32' }).copy_(ids.narrow(0, 0, 1))]
    const moved = ef.tensor([0, 9], { dtype: 'int32', device: 'cpu' }).narrow(0, 0, 1).to(device)
    for (const part of [...copies, moved])
      expect(await table().indexSelect(0, part).tolist()).toEqual([[0, 1]])
    expect(() => ids.narrow(0, 0, 1).oneHot()).toThrow(/number of classes/)
  })

  it('written in place are known too', async () => {
    const ids = ef.tensor([0, 1], { dtype: 'int32' })
    ids.copy_(ef.tensor([7, 8], { dtype: 'int32' }))
    expect(() => table().indexSelect(0, ids)).toThrow(ef.IndexError)
    ids.fill_(1)
    expect(await table().indexSelect(0, ids).tolist()).toEqual([
      [2, 3],
      [2, 3],
    ])
  })
})
