// The WASM emitter: its integers by decoding them again, its modules by validating and running them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { f32, f32x4, i32, signed, unsigned, v128 } from '../src/backend/cpu/wasm/code'
import { type Body, Module, type Parameters } from '../src/backend/cpu/wasm/emitter'

type Run = (...args: number[]) => void

/** Compiles a function of its own module; it reports by writing to memory. */
function program<N extends string>(
  parameters: readonly N[],
  write: (f: Body, p: Parameters<N>) => void,
): { run: Run; ints: Int32Array; floats: Float32Array } {
  const module = new Module({ shared: false, fma: false })
  module.export('run', parameters, write)
  const memory = new WebAssembly.Memory({ initial: 1 })
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory } })
  return {
    run: instance.exports.run as Run,
    ints: new Int32Array(memory.buffer),
    floats: new Float32Array(memory.buffer),
  }
}

/** The textbook decoder: sum of seven-bit groups. */
function decode(bytes: readonly number[]): bigint {
  return bytes.reduce((sum, byte, i) => sum + (BigInt(byte & 127) << BigInt(7 * i)), 0n)
}

const well = (bytes: readonly number[]): boolean =>
  bytes.every((byte, i) => byte >= 0 && byte < 256 && byte >> 7 === Number(i < bytes.length - 1))

describe('LEB128', () => {
  it('unsigned: decodes to the number, in the fewest bytes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (x) => {
        const bytes = unsigned(x)
        expect(well(bytes)).toBe(true)
        expect(decode(bytes)).toBe(BigInt(x))
        expect(bytes.length).toBe(Math.max(1, Math.ceil(Math.log2(x + 1) / 7)))
      }),
      { examples: [[0], [127], [128], [2 ** 31], [2 ** 32 - 1]] },
    )
  })

  it('signed: decodes to the number with its sign bit extended', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (x) => {
        const bytes = signed(x)
        expect(well(bytes)).toBe(true)
        expect(BigInt.asIntN(7 * bytes.length, decode(bytes))).toBe(BigInt(x))
      }),
      { examples: [[0], [-1], [63], [64], [-64], [-65], [2 ** 31 - 1], [-(2 ** 31)]] },
    )
  })
})

describe('programs', () => {
  it('constants arrive as they were written', () => {
    fc.assert(
      fc.property(fc.integer(), fc.float({ noNaN: true }), (int, float) => {
        const { run, ints, floats } = program(['at'], (f, { at }) => {
          f.run(i32.store(at, int))
          f.run(f32.store(at, float, 4))
        })
        run(8)
        expect(ints[2]).toBe(int)
        expect(floats[3]).toBe(float)
      }),
      { numRuns: 50 },
    )
  })

  it('sums 1 to n in a loop that may run no round', () => {
    const { run, ints } = program(['n'], (f, { n }) => {
      const sum = f.local('i32')
      f.while(n, () => {
        f.set(sum, i32.add(sum, n))
        f.step(n, -1)
      })
      f.run(i32.store(0, sum))
    })
    for (const n of [10, 0, 1]) {
      run(n)
      expect(ints[0]).toBe((n * (n + 1)) / 2)
    }
  })

  it('branches out of nested blocks and back to the right loop', () => {
    // The least pair i <= j with i * j = n, found by leaving two loops at once.
    const { run, ints } = program(['n'], (f, { n }) => {
      const i = f.local('i32', i32.const(1))
      const j = f.local('i32')
      f.block((found) => {
        f.loop((outer) => {
          f.set(j, i)
          f.loop((inner) => {
            found(i32.eq(i32.mul(i, j), n))
            f.step(j, 1)
            inner(i32.leU(j, n))
          })
          f.step(i, 1)
          outer()
        })
      })
      f.run(i32.store(0, i))
      f.run(i32.store(0, j, 4))
    })
    run(91)
    expect([...ints.slice(0, 2)]).toEqual([1, 91])
  })

  it('chooses by if, else and select', () => {
    const { run, ints } = program(['x'], (f, { x }) => {
      f.if(
        i32.ltU(x, 5),
        () => f.run(i32.store(0, 1)),
        () => f.run(i32.store(0, 2)),
      )
      f.run(i32.store(0, i32.select(10, 20, i32.eqz(x)), 4))
    })
    run(4)
    expect([...ints.slice(0, 2)]).toEqual([1, 20])
    run(0)
    expect([...ints.slice(0, 2)]).toEqual([1, 10])
    run(5)
    expect([...ints.slice(0, 2)]).toEqual([2, 20])
  })

  it('calls functions that are defined before, and exports by name', () => {
    const module = new Module({ shared: false, fma: false })
    const put = module.func(['at', 'value'], (f, { at, value }) => f.run(i32.store(at, value)))
    module.export('first', [], (f) => f.call(put, 0, 7))
    module.export('second', ['x'], (f, { x }) => f.call(put, 4, x))
    const memory = new WebAssembly.Memory({ initial: 1 })
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory } })
    expect(Object.keys(exports)).toEqual(['first', 'second'])
    ;(exports.first as Run)()
    ;(exports.second as Run)(9)
    expect([...new Int32Array(memory.buffer, 0, 2)]).toEqual([7, 9])
  })

  it('works on four lanes: loads, arithmetic, shuffles, lanes', () => {
    const { run, floats } = program([], (f) => {
      const x = f.local('v128', v128.load(0))
      f.run(v128.store(0, f32x4.add(f32x4.mul(x, x), f32x4.const(1)), 16))
      f.run(v128.store(0, v128.shuffle(x, v128.load(16), [3, 0, 4, 7]), 32))
      f.run(v128.store(0, v128.load32Splat(8), 48))
      f.run(f32.store(0, f32.mul(f32x4.lane(x, 2), 10), 64))
    })
    floats.set([1, 2, 3, 4])
    run()
    expect([...floats.slice(4, 8)]).toEqual([2, 5, 10, 17])
    expect([...floats.slice(8, 12)]).toEqual([4, 1, 2, 17])
    expect([...floats.slice(12, 17)]).toEqual([3, 3, 3, 3, 30])
  })

  it('imports a shared memory where it is told so', () => {
    const module = new Module({ shared: true, fma: false })
    module.export('run', [], (f) => f.run(i32.store(0, 5)))
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true })
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory } })
    ;(exports.run as Run)()
    expect(new Int32Array(memory.buffer)[0]).toBe(5)
  })
})
