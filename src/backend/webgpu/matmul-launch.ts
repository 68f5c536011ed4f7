// What the matrix kernels have in common: parameters, and what of their text depends on bindings and batch axes.

import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings, elementOf } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'
import type { TemplateValues } from './template'

export interface Product {
  readonly a: View
  readonly b: View
  readonly out: View
  readonly accumulate: boolean
  /** Where the first of the batch axes is parts of K: how long they are, and how many. Default: K is not cut. */
  readonly cut?: { readonly length: number; readonly parts: number }
}

/** A kernel, and the rows and columns that one invocation (or workgroup, with `byGroup`) computes. */
export interface ProductKernel {
  readonly key: string
  readonly template: string
  readonly rows: number
  readonly columns: number
  readonly byGroup: boolean
  /** Template values besides those that all of these kernels use. `A` and `B` name the operands. */
  values(names: { readonly A: string; readonly B: string }): TemplateValues
}

export function launchProduct(
  engine: Engine,
  { a, b, out, accumulate, cut }: Product,
  kernel: ProductKernel,
): void {
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const k = a.shape[a.shape.length - 1]
  const batchShape = out.shape.slice(0, rank - 2)
  const batches = count(batchShape)
  const bindings = new Bindings()
  const A = bindings.add(a)
  const B = bindings.add(b)
  const OUT = bindings.add(out, true)
  const views = [a, b, out]
  const walk = collapse(
    batchShape,
    views.map((view) => view.strides.slice(0, rank - 2)),
  )
  const tilesM = Math.ceil(m / kernel.rows)
  const tilesN = Math.ceil(n / kernel.columns)
  const [aM, aK] = a.strides.slice(rank - 2)
  const [bK, bN] = b.strides.slice(rank - 2)
  const [outM, outN] = out.strides.slice(rank - 2)
  engine.run({
    op: 'matmul',
    key: `${kernel.key}|${accumulate}|${walk.shape.length}`,
    template: kernel.template,
    bindings,
    count: tilesM * tilesN * batches,
    extra: tilesN,
    byGroup: kernel.byGroup,
    values: () => ({
      A,
      B,
      OUT,
      TYPE: elementOf(out.dtype),
      OLD: accumulate ? `${OUT}[o] + ` : '',
      OFFSETS: offsetsCode(walk.shape.length, ['o0', 'o1', 'o2'], 16, 'i'),
      ...kernel.values({ A, B }),
    }),
    fill: (params) => {
      params.int(tilesM, m, n, k, aM, aK, bK, bN, outM, outN)
      params.int(cut?.length ?? k, batches / (cut?.parts ?? 1))
      params.walk(
        walk,
        views.map((view) => view.offset),
      )
    },
  })
}
