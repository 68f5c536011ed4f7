// Masks for dropout in WASM: Threefry-2x32 on eight counters at a time, each of which decides on two elements. The bits
// are those of the TypeScript kernel (random.ts); the scheme is documented at `RandomKind`.

import { KEY_PARITY, ROTATIONS } from '../../threefry'
import type { Heap } from '../heap'
import { i32x4, type Statement, v128, type V128 } from './code'
import { type Body, type Local, Module, type Target } from './emitter'
import { type Threads, threadsOf } from './threads'

/** Elements, bytes, that one turn of the loop writes. */
const TURN = 16

interface RandomKernels {
  /** Writes 0 or 1 for `turns` times 16 elements from the counter `first` on; 1 where a 24-bit draw is below `limit`. */
  bernoulli(
    to: number,
    turns: number,
    first: number,
    seed: number,
    stream: number,
    parity: number,
    limit: number,
  ): void
}

/** About how long one turn takes. */
const TURN_NS = 20

/** null where WASM may not be compiled. */
const engines = new WeakMap<Threads, RandomKernels | null>()

/** Fills the first elements of n bytes at `to` as `bernoulli` does; returns how many: all but less than 16, or none. */
export function wasmBernoulli(
  heap: Heap,
  p: number,
  seed: number,
  stream: number,
  to: number,
  n: number,
): number {
  const threads = threadsOf(heap)
  if (!threads) return 0
  let kernels = engines.get(threads)
  if (kernels === undefined) {
    kernels = threads.instantiate<RandomKernels>(randomModule)
    engines.set(threads, kernels)
  }
  if (!kernels) return 0
  const turns = Math.floor(n / TURN)
  // A draw is below p where its 24 bits, an integer, are below p * 2^24.
  const limit = Math.ceil(Math.fround(p) * 2 ** 24)
  const { bernoulli } = kernels
  threads.split(turns, 4, TURN_NS * turns, (start, size) => {
    bernoulli(to + TURN * start, size, (TURN / 2) * start, seed, stream, KEY_PARITY ^ seed ^ stream, limit)
  })
  return turns * TURN
}

function randomModule(target: Target): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  const parameters = ['to', 'turns', 'first', 'seed', 'stream', 'parity', 'limit'] as const
  module.export('bernoulli', parameters, (f, { to, turns, first, seed, stream, parity, limit }) => {
    const keys = [seed, stream, parity].map((key) => f.local('v128', i32x4.splat(key)))
    const bound = f.local('v128', i32x4.splat(limit))
    const counter = f.local('v128', i32x4.add(i32x4.splat(first), i32x4.lanes([0, 1, 2, 3])))
    /** Bytes 0 and 1 of each lane for the two elements of four counters. */
    const draw = (): V128 => {
      const [x, y] = threefry(f, counter, keys)
      f.set(counter, i32x4.add(counter, i32x4.const(4)))
      const below = (word: V128): V128 => i32x4.lt(i32x4.shrU(word, 8), bound)
      return f.local(
        'v128',
        v128.or(v128.and(below(x), i32x4.const(1)), v128.and(below(y), i32x4.const(0x100))),
      )
    }
    const write = (): Statement => {
      const [a, b] = [draw(), draw()]
      return v128.store(to, v128.narrowTwo(a, b))
    }
    f.while(turns, () => {
      f.run(write())
      f.step(to, TURN)
      f.step(turns, -1)
    })
  })
  return module.bytes()
}

/** Both words of four blocks with counters (counter, 0), under the keys in all lanes. */
function threefry(f: Body, counter: V128, keys: readonly V128[]): [V128, V128] {
  const x: Local<'v128'> = f.local('v128', i32x4.add(counter, keys[0]))
  const y: Local<'v128'> = f.local('v128', keys[1])
  for (let round = 0; round < 20; round++) {
    const turn = ROTATIONS[round % 8]
    f.set(x, i32x4.add(x, y))
    f.set(y, v128.xor(v128.or(i32x4.shl(y, turn), i32x4.shrU(y, 32 - turn)), x))
    if (round % 4 === 3) {
      const injection = (round + 1) / 4
      f.set(x, i32x4.add(x, keys[injection % 3]))
      f.set(y, i32x4.add(i32x4.add(y, keys[(injection + 1) % 3]), i32x4.const(injection)))
    }
  }
  return [x, y]
}
