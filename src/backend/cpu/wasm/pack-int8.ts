// Float32 rows to the words of int8 products and back, in WASM: the rounding rule of compress/quantize/integers.ts.

import type { View } from '../../types'
import { bufferOf } from '../buffer'
import type { Heap } from '../heap'
import { f32, f32x4, i16x8, i32, i32x4, i8x16, v128, type V128 } from './code'
import { type Body, type Local, Module, type Target } from './emitter'
import { type Threads, threadsOf } from './threads'

/** Addresses, byte strides and sizes; strides of parameters may be 0. */
interface PackKernels {
  pack(
    ...args: [
      x: number,
      xRow: number,
      reciprocal: number,
      reciprocalRow: number,
      zero: number,
      zeroRow: number,
      /** Of two float32: the smallest and the largest integer. */
      limits: number,
      rows: number,
      k: number,
      to: number,
      toRow: number,
    ]
  ): void
  unpack(
    ...args: [
      from: number,
      fromRow: number,
      scale: number,
      scaleRow: number,
      zero: number,
      zeroRow: number,
      rows: number,
      k: number,
      to: number,
      toRow: number,
    ]
  ): void
}

function packModule(target: Target): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  exportPack(module)
  exportUnpack(module)
  return module.bytes()
}

function exportPack(module: Module): void {
  const parameters = [
    ...(['x', 'xRow', 'reciprocal', 'reciprocalRow', 'zero', 'zeroRow', 'limits'] as const),
    ...(['rows', 'k', 'to', 'toRow'] as const),
  ]
  module.export('pack', parameters, (f, p) => {
    const low = f.local('v128', v128.load32Splat(p.limits))
    const high = f.local('v128', v128.load32Splat(p.limits, 4))
    const [reciprocal, zero] = [f.local('v128'), f.local('v128')]
    const [from, to, left] = [f.local('i32'), f.local('i32'), f.local('i32')]
    const integers = (x: V128): V128 => {
      const q = f32x4.add(f32x4.nearest(f32x4.mul(x, reciprocal)), zero)
      return i32x4.fromFloat(f32x4.pmin(f32x4.pmax(q, low), high))
    }
    const advance = (values: number): void => {
      f.step(from, 4 * values)
      f.step(to, values)
      f.step(left, -values)
    }
    f.while(p.rows, () => {
      f.set(reciprocal, v128.load32Splat(p.reciprocal))
      f.set(zero, v128.load32Splat(p.zero))
      f.set(from, p.x)
      f.set(to, p.to)
      f.set(left, p.k)
      f.while(i32.geU(left, 16), () => {
        const halves = [0, 32].map((at) =>
          i16x8.narrow(integers(v128.load(from, at)), integers(v128.load(from, at + 16))),
        )
        f.run(v128.store(to, i8x16.narrow(halves[0], halves[1])))
        advance(16)
      })
      f.while(i32.geU(left, 4), () => {
        const half = f.local('v128', i16x8.narrow(integers(v128.load(from)), low))
        f.run(i32.store(to, i32x4.lane(i8x16.narrow(half, half), 0)))
        advance(4)
      })
      f.if(left, () => {
        f.run(i32.store(to, i32.const(0)))
        f.while(left, () => {
          f.run(i32.store8(to, i32x4.lane(integers(v128.load32Splat(from)), 0)))
          advance(1)
        })
      })
      nextRow(f, p, ['x', 'reciprocal', 'zero', 'to'])
    })
  })
}

/** Moves each pointer on by its own stride. */
function nextRow<N extends string>(
  f: Body,
  p: Readonly<Record<N | 'rows', Local<'i32'>>>,
  pointers: readonly N[],
): void {
  for (const name of pointers) f.step(p[name], p[`${name}Row` as N])
  f.step(p.rows, -1)
}

function exportUnpack(module: Module): void {
  const parameters = [
    ...(['from', 'fromRow', 'scale', 'scaleRow', 'zero', 'zeroRow', 'rows', 'k'] as const),
    ...(['to', 'toRow'] as const),
  ]
  module.export('unpack', parameters, (f, p) => {
    const [scale, zero, words] = [f.local('v128'), f.local('v128'), f.local('v128')]
    const [from, to, left] = [f.local('i32'), f.local('i32'), f.local('i32')]
    f.while(p.rows, () => {
      f.set(scale, v128.load32Splat(p.scale))
      f.set(zero, v128.load32Splat(p.zero))
      f.set(from, p.from)
      f.set(to, p.to)
      f.set(left, p.k)
      const numbers = (): V128 => {
        f.set(words, v128.load32Zero(from))
        const q = i32x4.toFloat(i32x4.widen(i16x8.widen(words)))
        return f32x4.mul(f32x4.sub(q, zero), scale)
      }
      f.while(i32.geU(left, 4), () => {
        f.run(v128.store(to, numbers()))
        f.step(from, 4)
        f.step(to, 16)
        f.step(left, -4)
      })
      f.if(left, () => {
        const rest = f.local('v128', numbers())
        f.while(left, () => {
          f.run(f32.store(to, f32x4.lane(rest, 0)))
          f.set(rest, v128.shuffle(rest, rest, [1, 2, 3, 0]))
          f.step(to, 4)
          f.step(left, -1)
        })
      })
      nextRow(f, p, ['from', 'scale', 'zero', 'to'])
    })
  })
}

interface Engine {
  readonly kernels: PackKernels
  readonly limits: number
}

/** null where WASM may not be compiled. */
const engines = new WeakMap<Threads, Engine | null>()

function engineOf(heap: Heap): Engine | null {
  const threads = threadsOf(heap)
  if (!threads) return null
  let engine = engines.get(threads)
  if (engine === undefined) {
    const kernels = threads.instantiate<PackKernels>(packModule)
    engine = kernels && { kernels, limits: threads.allocate(8) }
    engines.set(threads, engine)
  }
  return engine
}

/** Address of a view of 4-byte elements and its stride from row to row, in bytes. */
const place = (view: View): [ptr: number, row: number] => [
  bufferOf(view).ptr + 4 * view.offset,
  4 * view.strides[0],
]

/** See `Backend.packInt8`. */
export function wasmPackInt8(
  x: View,
  reciprocal: View,
  zero: View,
  low: number,
  high: number,
  out: View,
): boolean {
  const { heap } = bufferOf(out)
  const engine = engineOf(heap)
  const [m, k] = x.shape
  if (!engine || (x.strides[1] !== 1 && k > 1)) return false
  const { kernels, limits } = engine
  heap.f32(limits, 2).set([low, high])
  kernels.pack(...place(x), ...place(reciprocal), ...place(zero), limits, m, k, ...place(out))
  return true
}

/** See `Backend.unpackInt8`. */
export function wasmUnpackInt8(words: View, scale: View, zero: View, out: View): boolean {
  const engine = engineOf(bufferOf(out).heap)
  const [m, k] = out.shape
  if (!engine) return false
  engine.kernels.unpack(...place(words), ...place(scale), ...place(zero), m, k, ...place(out))
  return true
}
