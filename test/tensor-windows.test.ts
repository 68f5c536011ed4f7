// What pad, repeat, unfold and einsum refuse, and what they share.
import { expect, it } from 'vitest'
import * as ef from '../src/index'

const x = ef.ones([2, 3])

it('pad names pads that do not fit', () => {
  expect(() => x.pad([1])).toThrow(/pads \[1\] do not fit shape \[2, 3\]/)
  expect(() => x.pad([1, 1, 1, 1, 1, 1])).toThrow(ef.ArgumentError)
  expect(() => x.pad([0.5, 1])).toThrow(ef.ArgumentError)
  expect(() => x.pad([-2, -2])).toThrow(/cut more off axis 1/)
  // All of x may go, as long as something is left to fill.
  expect(() => x.pad([-4, 5])).toThrow(/cut more off axis 1/)
  expect(() => ef.tensor([1, 2], { dtype: 'int32' }).pad([1, 1], { value: 0.5 })).toThrow(ef.ArgumentError)
  expect(x.pad([]).shape).toEqual([2, 3])
})

it('repeat copies, and names sizes that do not fit', () => {
  expect(() => x.repeat([2])).toThrow(/sizes \[2\] do not fit shape \[2, 3\]/)
  expect(() => x.repeat([1, -1])).toThrow(ef.ArgumentError)
  expect(x.repeat([0, 1]).shape).toEqual([0, 3])
  expect(x.repeat([1, 1]).storage).not.toBe(x.storage)
})

it('unfold is a view, and names sizes that do not fit', () => {
  expect(x.unfold(1, 2, 1).storage).toBe(x.storage)
  expect(() => x.unfold(1, 4, 1)).toThrow(/size 4 must be a whole number from 0 to 3/)
  expect(() => x.unfold(1, 2, 0)).toThrow(/step 0/)
  expect(() => ef.tensor(1).unfold(0, 1, 1)).toThrow(ef.ShapeError)
})

it('einsum repeats axes of size 1', async () => {
  const y = ef.einsum('ij,ij->i', x, ef.tensor([[2], [5]]))
  expect(await y.tolist()).toEqual([6, 15])
})

it('einsum says what is wrong with an equation', () => {
  const bad = (equation: string, ...t: ef.Tensor[]): string => {
    try {
      ef.einsum(equation, ...t)
    } catch (error) {
      return (error as Error).message
    }
    return 'nothing thrown'
  }
  expect(bad('...i->i', x)).toMatch(/ellipsis is not supported/)
  expect(bad('i1->i', x)).toMatch(/expected letters/)
  expect(bad('ij,jk', x)).toMatch(/names 2 operands, got 1/)
  expect(bad('i->i', x)).toMatch(/operand 0 has shape \[2, 3\], expected 1 axes/)
  expect(bad('ij->k', x)).toMatch(/names 'k', which no operand has/)
  expect(bad('ij->ii', x)).toMatch(/names 'i' twice/)
  expect(bad('ii->i', x)).toMatch(/axis 'i' is 2 and, in operand 0 of shape \[2, 3\], 3/)
  expect(bad('ii->i', ef.ones([1, 3]))).toMatch(/different sizes of one operand/)
  expect(bad('ij,ij->i', x, ef.ones([2, 2]))).toMatch(/axis 'j' is 3 and, in operand 1 of shape \[2, 2\], 2/)
})
