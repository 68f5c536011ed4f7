// Einstein summation: two operands at a time, each pair one matmul (or one product where nothing is summed).

import { record } from '../../autograd/tape'
import { ArgumentError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { contiguousStrides, formatShape, type Shape, sizeOf } from '../shape'
import { copyProgram, Tensor } from '../tensor'
import { recordedWindow, requireFloat, sameDevice } from './apply'
import { mul } from './elementwise'
import { matmul } from './matmul'
import { sum } from './reduce'
import { copy, expand, fillStorage, permute, reshape } from './views'

/** A tensor whose axes have names. */
interface Named {
  readonly x: Tensor
  readonly names: readonly string[]
}

/**
 * `einsum('bij,bjk->bik', a, b)` (torch.einsum): letters name axes; those missing after the arrow are summed. A letter
 * twice in one operand takes its diagonal; axes of size 1 are repeated. Without an arrow the result has the letters that
 * occur once, in alphabetical order. Operands are contracted from left to right. An ellipsis is not supported.
 */
export function einsum(equation: string, ...tensors: Tensor[]): Tensor {
  const { inputs, output } = parse(equation, tensors)
  sameDevice('einsum', tensors)
  for (const t of tensors) requireFloat('einsum', t)
  const sizes = sizesOf(equation, inputs, tensors)
  return tidy(() => {
    let rest = tensors.map((t, i) => {
      const one = diagonal({ x: t, names: inputs[i] })
      // An axis of size 1 that is wider elsewhere.
      const wide = one.names.map((n) => sizes.get(n) as number)
      return { x: expand(one.x, wide), names: one.names }
    })
    while (rest.length > 1) {
      const [a, b, ...others] = rest
      const wanted = new Set([...output, ...others.flatMap((o) => o.names)])
      rest = [contract(a, b, wanted, sizes), ...others]
    }
    const only = without(rest[0], new Set(output))
    const out = permute(
      only.x,
      output.map((n) => only.names.indexOf(n)),
    )
    return out.storage === tensors[0].storage ? copy(out) : out
  })
}

function parse(equation: string, tensors: readonly Tensor[]): { inputs: string[][]; output: string[] } {
  const refuse = (why: string): never => {
    throw new ArgumentError(`einsum: '${equation}': ${why}${inModule()}`)
  }
  const text = equation.replaceAll(' ', '')
  if (text.includes('.')) refuse('an ellipsis is not supported; name every axis with a letter')
  if (!/^[a-zA-Z,]*(->[a-zA-Z]*)?$/.test(text)) {
    refuse("expected letters for axes, ',' between operands and at most one '->', as in 'ij,jk->ik'")
  }
  const [left, right] = text.split('->')
  const inputs = left.split(',').map((part) => [...part])
  if (inputs.length !== tensors.length) refuse(`names ${inputs.length} operands, got ${tensors.length}`)
  inputs.forEach((names, i) => {
    if (names.length !== tensors[i].ndim) {
      refuse(`operand ${i} has shape ${formatShape(tensors[i].shape)}, expected ${names.length} axes`)
    }
  })
  const all = inputs.flat()
  const output =
    right === undefined
      ? [...new Set(all)].filter((n) => all.indexOf(n) === all.lastIndexOf(n)).sort()
      : [...right]
  for (const n of output) {
    if (!all.includes(n)) refuse(`the result names '${n}', which no operand has`)
    if (output.indexOf(n) !== output.lastIndexOf(n)) refuse(`the result names '${n}' twice`)
  }
  return { inputs, output }
}

function sizesOf(equation: string, inputs: readonly string[][], tensors: readonly Tensor[]) {
  const sizes = new Map<string, number>()
  inputs.forEach((names, i) => {
    names.forEach((name, d) => {
      const n = tensors[i].shape[d]
      const known = sizes.get(name) ?? 1
      if (known !== 1 && n !== 1 && known !== n) {
        throw new ShapeError(
          `einsum: '${equation}': axis '${name}' is ${known} and, in operand ${i} of shape ` +
            `${formatShape(tensors[i].shape)}, ${n}${inModule()}; expected equal sizes or 1`,
        )
      }
      sizes.set(name, known === 1 ? n : known)
    })
  })
  return sizes
}

/** Axes of one name are walked together. */
function diagonal({ x, names }: Named): Named {
  const distinct = [...new Set(names)]
  if (distinct.length === names.length) return { x, names }
  const shape = distinct.map((n) => {
    const found = x.shape.filter((_, d) => names[d] === n)
    if (found.some((size) => size !== found[0])) {
      throw new ShapeError(
        `einsum: '${n}' names axes of different sizes of one operand, shape ${formatShape(x.shape)}${inModule()}`,
      )
    }
    return found[0]
  })
  const groups = names.map((n) => distinct.indexOf(n))
  return { x: diagonalView(x, shape, groups), names: distinct }
}

/** Strides of the window that walks all axes of a group at once. */
function together(strides: readonly number[], groups: readonly number[], rank: number): number[] {
  const out = new Array<number>(rank).fill(0)
  groups.forEach((to, d) => {
    out[to] += strides[d]
  })
  return out
}

function diagonalView(x: Tensor, shape: Shape, groups: readonly number[]): Tensor {
  const strides = together(x.strides, groups, shape.length)
  return recordedWindow('diagonal', x, shape, strides, (g) => ontoDiagonal(g, x.shape, groups))
}

/** Zeros with `g` on the diagonal: the gradient of `diagonalView`. */
function ontoDiagonal(g: Tensor, shape: Shape, groups: readonly number[]): Tensor {
  const out = Tensor.allocate(g.backend, g.dtype, shape)
  fillStorage(out, 0)
  const strides = together(contiguousStrides(shape), groups, g.ndim)
  if (g.size > 0) {
    g.backend.elementwise(copyProgram(g.dtype), [g.view()], [], [{ ...out.view(), shape: g.shape, strides }])
  }
  record('diagonal backward', [g], [out], [], ([gg]) => [gg && diagonalView(gg, g.shape, groups)])
  return out
}

/** Sums over axes that nobody wants. */
function without({ x, names }: Named, wanted: ReadonlySet<string>): Named {
  const dims = [...names.keys()].filter((d) => !wanted.has(names[d]))
  return dims.length === 0 ? { x, names } : { x: sum(x, dims), names: names.filter((n) => wanted.has(n)) }
}

function contract(a: Named, b: Named, wanted: ReadonlySet<string>, sizes: Map<string, number>): Named {
  const left = without(a, new Set([...wanted, ...b.names]))
  const right = without(b, new Set([...wanted, ...a.names]))
  const shared = left.names.filter((n) => right.names.includes(n))
  const batch = shared.filter((n) => wanted.has(n))
  const summed = shared.filter((n) => !wanted.has(n))
  const rows = left.names.filter((n) => !shared.includes(n))
  const columns = right.names.filter((n) => !shared.includes(n))
  const size = (names: readonly string[]): number => sizeOf(names.map((n) => sizes.get(n) as number))
  const merged = ({ x, names }: Named, ...groups: string[][]): Tensor => {
    const order = groups.flat().map((n) => names.indexOf(n))
    return reshape(permute(x, order), groups.map(size))
  }
  const lead = batch.length > 0 ? [batch] : []
  const product =
    summed.length === 0
      ? mul(merged(left, batch, rows, []), merged(right, batch, [], columns))
      : matmul(merged(left, ...lead, rows, summed), merged(right, ...lead, summed, columns))
  const names = [...batch, ...rows, ...columns]
  return {
    x: reshape(
      product,
      names.map((n) => sizes.get(n) as number),
    ),
    names,
  }
}
