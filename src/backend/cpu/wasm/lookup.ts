// Rows of 4-byte elements that ids name, in WASM: copied out of a table (an embedding), and added to its rows (its
// gradient), with the bits of the TypeScript kernels (gather.ts). One thread does it: it waits for memory, and two that
// share the rows or their columns were no faster.

import type { Heap } from '../heap'
import { f32, f32x4, i32, type Statement, v128 } from './code'
import { type Local, Module, type Target } from './emitter'
import { type Threads, threadsOf } from './threads'

/** Where elements lie: addresses, and bytes from id to id, from row to row of the table, and from row to row of the others. */
export interface Lookup {
  readonly ids: number
  readonly idStep: number
  readonly table: number
  readonly tableStep: number
  readonly rows: number
  readonly rowStep: number
  /** How many ids, and elements of a row, which lie side by side. */
  readonly count: number
  readonly width: number
}

type Kernel = (
  ids: number,
  idStep: number,
  count: number,
  table: number,
  tableStep: number,
  rows: number,
  rowStep: number,
  width: number,
) => void

interface LookupKernels {
  readonly gather: Kernel
  readonly scatterAdd: Kernel
}

/** Vectors that one turn of the loop moves. */
const VECTORS = 4

/** null where WASM may not be compiled. */
const engines = new WeakMap<Threads, LookupKernels | null>()

/** Copies the rows of the table that ids name. False, with nothing done, where the TypeScript kernel has to serve. */
export function wasmGather(heap: Heap, lookup: Lookup): boolean {
  return run(heap, 'gather', lookup)
}

/** Adds rows of float32 to those of the table that ids name, in their order. False as above. */
export function wasmScatterAdd(heap: Heap, lookup: Lookup): boolean {
  return run(heap, 'scatterAdd', lookup)
}

function run(heap: Heap, name: keyof LookupKernels, lookup: Lookup): boolean {
  const threads = threadsOf(heap)
  if (!threads) return false
  let kernels = engines.get(threads)
  if (kernels === undefined) {
    kernels = threads.instantiate<LookupKernels>(lookupModule)
    engines.set(threads, kernels)
  }
  if (!kernels) return false
  const { ids, idStep, count, table, tableStep, rows, rowStep, width } = lookup
  kernels[name](ids, idStep, count, table, tableStep, rows, rowStep, width)
  return true
}

type Pointer = Local<'i32'>

/** What happens to the elements at two addresses, `offset` bytes on: a vector, and one by itself. */
interface Move {
  vector(table: Pointer, row: Pointer, offset: number): Statement
  single(table: Pointer, row: Pointer): Statement
}

const MOVES: Record<keyof LookupKernels, Move> = {
  gather: {
    vector: (table, row, offset) => v128.store(row, v128.load(table, offset), offset),
    single: (table, row) => i32.store(row, i32.load(table)),
  },
  scatterAdd: {
    vector: (table, row, offset) =>
      v128.store(table, f32x4.add(v128.load(table, offset), v128.load(row, offset)), offset),
    single: (table, row) => f32.store(table, f32.add(f32.load(table), f32.load(row))),
  },
}

function lookupModule(target: Target): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  for (const [name, move] of Object.entries(MOVES)) exportLookup(module, name, move)
  return module.bytes()
}

function exportLookup(module: Module, name: string, { vector, single }: Move): void {
  const parameters = ['ids', 'idStep', 'count', 'table', 'tableStep', 'rows', 'rowStep', 'width'] as const
  module.export(name, parameters, (f, p) => {
    const [entry, row, left] = [f.local('i32'), f.local('i32'), f.local('i32')]
    const advance = (elements: number): void => {
      f.step(entry, 4 * elements)
      f.step(row, 4 * elements)
      f.step(left, -elements)
    }
    f.while(p.count, () => {
      f.set(entry, i32.add(p.table, i32.mul(i32.load(p.ids), p.tableStep)))
      f.set(row, p.rows)
      f.set(left, p.width)
      for (const vectors of [VECTORS, 1]) {
        f.while(i32.geU(left, 4 * vectors), () => {
          for (let v = 0; v < vectors; v++) f.run(vector(entry, row, 16 * v))
          advance(4 * vectors)
        })
      }
      f.while(left, () => {
        f.run(single(entry, row))
        advance(1)
      })
      f.step(p.ids, p.idStep)
      f.step(p.rows, p.rowStep)
      f.step(p.count, -1)
    })
  })
}
