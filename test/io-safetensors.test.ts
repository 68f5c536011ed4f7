import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HostArray } from '../src/backend/types'
import { ArgumentError, DTypeError, FormatError, ShapeError } from '../src/errors'
import {
  bfloat16Bits,
  bfloat16FromBits,
  float16Bits,
  float16FromBits,
  openSafetensors,
  parseSafetensors,
  saveSafetensors,
  serializeSafetensors,
  type TensorToWrite,
} from '../src/io'

/** A file from a header text and data bytes, however wrong. */
function file(header: string, data: Uint8Array | number = 0, length?: bigint): Uint8Array {
  const json = new TextEncoder().encode(header)
  const payload = typeof data === 'number' ? new Uint8Array(data) : data
  const bytes = new Uint8Array(8 + json.length + payload.length)
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true)
  bytes.set(json, 8)
  bytes.set(payload, 8 + json.length)
  return bytes
}

const entry = (dtype: string, shape: unknown, offsets: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: offsets })

const bytesOf = (array: HostArray | Uint16Array | BigInt64Array | Int8Array) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

describe('16-bit floats', () => {
  it.each([
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.999, 0x7bff],
    [65520, 0x7c00], // half to even: up to infinity
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400], // smallest normal
    [2 ** -24, 0x0001], // smallest subnormal
    [2 ** -25, 0x0000], // a tie, to even
    [2 ** -25 * (1 + 2 ** -40), 0x0001], // float32 in between would round twice
    [2 ** -14 - 2 ** -25, 0x0400], // a subnormal tie that becomes normal
    [1 + 2 ** -11, 0x3c00], // ties to even, down and up
    [1 + 3 * 2 ** -11, 0x3c02],
    [1e300, 0x7c00],
    [5e-324, 0x0000],
  ])('float16 of %d is %d', (x, bits) => {
    expect(float16Bits(x)).toBe(bits)
  })

  it.each([
    [1, 0x3f80],
    [-0, 0x8000],
    [3.3895313892515355e38, 0x7f7f],
    [3.4e38, 0x7f80],
    [1 + 2 ** -8, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3f82],
    [2 ** -133, 0x0001],
    [2 ** -134, 0x0000],
    [Number.NEGATIVE_INFINITY, 0xff80],
  ])('bfloat16 of %d is %d', (x, bits) => {
    expect(bfloat16Bits(x)).toBe(bits)
  })

  it.each([
    ['float16', float16Bits, float16FromBits],
    ['bfloat16', bfloat16Bits, bfloat16FromBits],
  ])('every %s value survives, and NaN stays NaN', (_, encode, decode) => {
    for (let bits = 0; bits < 1 << 16; bits++) {
      const x = decode(bits)
      if (Number.isNaN(x)) expect(decode(encode(x))).toBeNaN()
      else if (encode(x) !== bits) expect.fail(`${bits} became ${encode(x)}`)
    }
  })

  it('rounding goes to the nearest value', () => {
    fc.assert(
      fc.property(fc.double({ min: -65504, max: 65504, noNaN: true }), (x) => {
        const bits = float16Bits(x)
        const error = Math.abs(float16FromBits(bits) - x)
        for (const other of [bits - 1, bits + 1]) {
          if ((other & 0x7fff) >= 0x7c00 || other < 0) continue
          expect(error).toBeLessThanOrEqual(Math.abs(float16FromBits(other) - x))
        }
      }),
    )
  })
})

describe('parseSafetensors', () => {
  it('reads every supported dtype', () => {
    const parts: [string, string, Uint8Array, HostArray][] = [
      ['a', 'F64', bytesOf(Float64Array.of(1.5, -2)), Float64Array.of(1.5, -2)],
      ['b', 'I64', bytesOf(BigInt64Array.of(-3n, 2147483647n)), Int32Array.of(-3, 2147483647)],
      ['c', 'F32', bytesOf(Float32Array.of(0.1, 7)), Float32Array.of(0.1, 7)],
      ['d', 'I32', bytesOf(Int32Array.of(-1, 9)), Int32Array.of(-1, 9)],
      ['e', 'F16', bytesOf(Uint16Array.of(0x3c00, 0xc000)), Float32Array.of(1, -2)],
      ['f', 'BF16', bytesOf(Uint16Array.of(0x3f80, 0xc000)), Float32Array.of(1, -2)],
      ['g', 'U8', Uint8Array.of(0, 255), Uint8Array.of(0, 255)],
      ['h', 'I8', bytesOf(Int8Array.of(-128, 127)), Int32Array.of(-128, 127)],
      ['i', 'BOOL', Uint8Array.of(0, 2), Uint8Array.of(0, 1)],
    ]
    let position = 0
    const entries = parts.map(([name, dtype, bytes]) => {
      const begin = position
      position += bytes.length
      return `"${name}":${entry(dtype, [2], [begin, position])}`
    })
    const data = new Uint8Array(parts.flatMap(([, , bytes]) => [...bytes]))
    const header = `{"__metadata__":{"format":"pt"},${entries.join(',')}}`
    // An odd header length: data that is not aligned must be read as well.
    for (const padding of ['', ' ', '   ']) {
      const { tensors, metadata } = parseSafetensors(file(header + padding, data))
      expect(metadata).toEqual({ format: 'pt' })
      for (const [name, dtype, , expected] of parts) {
        expect(tensors.get(name)).toEqual({ dtype, shape: [2], data: expected })
      }
    }
  })

  it('reads scalars, empty tensors and an empty file', () => {
    const header = `{"s":${entry('F32', [], [0, 4])},"z":${entry('F32', [0, 3], [4, 4])}}`
    const { tensors } = parseSafetensors(file(header, bytesOf(Float32Array.of(5))))
    expect(tensors.get('s')).toEqual({ dtype: 'F32', shape: [], data: Float32Array.of(5) })
    expect(tensors.get('z')?.data).toEqual(new Float32Array(0))
    expect(parseSafetensors(file('{}')).tensors.size).toBe(0)
  })

  it('keeps odd names apart from the prototype', () => {
    const header = `{"__proto__":${entry('U8', [1], [0, 1])},"__metadata__":{"__proto__":"x"}}`
    const { tensors, metadata } = parseSafetensors(file(header, 1))
    expect([...tensors.keys()]).toEqual(['__proto__'])
    expect(Object.entries(metadata)).toEqual([['__proto__', 'x']])
  })

  const good = entry('F32', [2], [0, 8])
  it.each<[string, Uint8Array, RegExp]>([
    ['no bytes', new Uint8Array(0), /too few/],
    ['half a length field', new Uint8Array(7), /too few/],
    ['a 2^53 header length', file('{}', 0, 2n ** 53n), /9007199254740992/],
    ['a 2^64-1 header length', file('{}', 0, 2n ** 64n - 1n), /exceeds the limit/],
    ['a header length beyond the file', file('{}', 0, 3n), /only 2 bytes follow/],
    ['a header above 100 MB', file('{}', 0, 100_000_001n), /exceeds the limit/],
    ['an empty header', file('', 8), /first byte/],
    ['a header that is no JSON', file('{nonsense}'), /not valid JSON/],
    ['a header that is a list', file('[]'), /first byte/],
    [
      'a header that is not UTF-8',
      file('{"\u0000":1}').map((b) => (b === 0x22 ? 0xff : b)),
      /not valid JSON/,
    ],
    ['an entry that is no object', file('{"a":3}'), /'a'.*expected/],
    ['an entry without dtype', file('{"a":{"shape":[],"data_offsets":[0,0]}}'), /dtype nothing/],
    ['an unknown dtype', file(`{"a":${entry('U16', [1], [0, 2])}}`, 2), /"U16".*supported are F64/],
    ['a dtype of the prototype', file(`{"a":${entry('toString', [1], [0, 2])}}`, 2), /supported are/],
    [
      'a negative dimension',
      file(`{"a":${entry('F32', [-2], [0, 8])}}`, 8),
      /non-negative integers, got \[-2\]/,
    ],
    ['a fractional dimension', file(`{"a":${entry('F32', [0.5], [0, 2])}}`, 2), /got \[0.5\]/],
    ['a shape that is no list', file(`{"a":${entry('F32', 2, [0, 8])}}`, 8), /shape must be/],
    ['a product overflow', file(`{"a":${entry('F32', [2 ** 31, 2 ** 31], [0, 8])}}`, 8), /too many elements/],
    ['a shape that does not match', file(`{"a":${entry('F32', [3], [0, 8])}}`, 8), /12 bytes.*give 8/],
    ['offsets out of range', file(`{"a":${good}}`, 7), /truncated/],
    ['offsets out of order', file(`{"a":${entry('F32', [2], [8, 0])}}`, 8), /outside/],
    ['one offset', file(`{"a":${entry('F32', [2], [0])}}`, 8), /two non-negative/],
    ['a hole', file(`{"a":${entry('F32', [2], [4, 12])}}`, 12), /bytes 0 to 4/],
    ['bytes at the end', file(`{"a":${good}}`, 9), /bytes 8 to 9/],
    ['an overlap', file(`{"a":${good},"b":${entry('F32', [2], [4, 12])}}`, 12), /overlap/],
    ['the same bytes twice', file(`{"a":${good},"b":${good}}`, 8), /overlap/],
    ['a name given twice', file(`{"a":${good},"\\u0061":${good}}`, 8), /'a' twice/],
    [
      'a shape given twice',
      file('{"a":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}', 1),
      /twice/,
    ],
    ['metadata that is no object', file('{"__metadata__":[]}'), /__metadata__/],
    ['metadata that is no string', file('{"__metadata__":{"a":1}}'), /__metadata__.a must be a string/],
    ['deep nesting', file(`{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`), /'a'/],
    [
      'int64 out of range',
      file(`{"a":${entry('I64', [1], [0, 8])}}`, bytesOf(BigInt64Array.of(2n ** 31n))),
      /2147483648/,
    ],
  ])('%s is a FormatError', (_, bytes, message) => {
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(FormatError)
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(message)
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(/^x\.safetensors: /)
  })

  it('arbitrary bytes give a FormatError or a result, nothing else', () => {
    const attempt = (bytes: Uint8Array) => {
      try {
        parseSafetensors(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt))
    fc.assert(fc.property(fc.json(), fc.nat(32), (json, size) => attempt(file(json, size))))
  })
})

const arrays: fc.Arbitrary<TensorToWrite> = fc
  .tuple(
    fc.array(fc.nat(3), { maxLength: 4 }),
    fc.constantFrom('F64', 'F32', 'F16', 'BF16', 'I32', 'U8', 'BOOL' as const),
    fc.integer(),
  )
  .map(([shape, dtype, seed]) => {
    const count = shape.reduce((a, b) => a * b, 1)
    const value = (i: number) => Math.sin(seed + i) * 100
    if (dtype === 'F64')
      return { dtype, shape, data: Float64Array.from({ length: count }, (_, i) => value(i)) }
    if (dtype === 'I32') return { dtype, shape, data: Int32Array.from({ length: count }, (_, i) => value(i)) }
    if (dtype === 'U8') return { dtype, shape, data: Uint8Array.from({ length: count }, (_, i) => value(i)) }
    if (dtype === 'BOOL') return { dtype, shape, data: Uint8Array.from({ length: count }, (_, i) => i % 2) }
    const round = {
      F32: Math.fround,
      F16: (x: number) => float16FromBits(float16Bits(x)),
      BF16: (x: number) => bfloat16FromBits(bfloat16Bits(x)),
    }[dtype as 'F32' | 'F16' | 'BF16']
    return {
      dtype,
      shape,
      data: Float32Array.from({ length: count }, (_, i) => round(value(i))),
    } as TensorToWrite
  })

const files = fc.tuple(
  fc.dictionary(
    fc.string({ unit: 'grapheme' }).filter((name) => name !== '__metadata__'),
    arrays,
    { maxKeys: 5 },
  ),
  fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
)

describe('serializeSafetensors', () => {
  it('what is written is read back, dtypes and bits', () => {
    fc.assert(
      fc.property(files, ([tensors, metadata]) => {
        const bytes = serializeSafetensors(tensors, { metadata })
        const parsed = parseSafetensors(bytes)
        expect(parsed.tensors).toEqual(new Map(Object.entries(tensors)))
        expect({ ...parsed.metadata }).toEqual({ ...metadata })
        expect(serializeSafetensors(parsed.tensors, { metadata: parsed.metadata })).toEqual(bytes)
      }),
    )
  })

  it('a changed byte gives a FormatError or a result, nothing else', () => {
    fc.assert(
      fc.property(
        files,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        (given, edits) => {
          const bytes = serializeSafetensors(given[0], { metadata: given[1] })
          for (const [at, value] of edits) bytes[at % bytes.length] = value
          try {
            parseSafetensors(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('a file cut anywhere is a FormatError', () => {
    const bytes = serializeSafetensors({ a: { shape: [3], data: Float32Array.of(1, 2, 3) } })
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseSafetensors(bytes.subarray(0, length))).toThrow(FormatError)
    }
  })

  it('orders by alignment, then by name, and pads the header, as the reference implementation does', () => {
    const bytes = serializeSafetensors(
      {
        mask: { shape: [1], data: Uint8Array.of(1), dtype: 'BOOL' },
        b: { shape: [1], data: Float32Array.of(1) },
        '\u{1f600}': { shape: [1], data: Float32Array.of(2) },
        '\uff00': { shape: [1], data: Float32Array.of(3) },
        a: { shape: [1], data: Int32Array.of(4) },
        wide: { shape: [1], data: Float64Array.of(5) },
      },
      { metadata: { z: '1', a: '2' } },
    )
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
    expect(length % 8).toBe(0)
    const text = new TextDecoder().decode(bytes.subarray(8, 8 + length))
    expect(text.trimEnd()).toBe(
      '{"__metadata__":{"a":"2","z":"1"},"wide":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},' +
        '"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},' +
        '"\uff00":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},' +
        '"\u{1f600}":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},' +
        '"a":{"dtype":"I32","shape":[1],"data_offsets":[20,24]},' +
        '"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[24,25]}}',
    )
  })

  it('the dtype option: for all tensors that it fits, or by name', () => {
    const tensors = {
      w: { shape: [2], data: Float32Array.of(1, 2049) },
      n: { shape: [1], data: Int32Array.of(200) },
    }
    const half = parseSafetensors(serializeSafetensors(tensors, { dtype: 'F16' })).tensors
    expect(half.get('w')).toEqual({ dtype: 'F16', shape: [2], data: Float32Array.of(1, 2048) })
    expect(half.get('n')?.dtype).toBe('I32')
    const named = parseSafetensors(serializeSafetensors(tensors, { dtype: { n: 'U8' } })).tensors
    expect(named.get('n')).toEqual({ dtype: 'U8', shape: [1], data: Uint8Array.of(200) })
    expect(named.get('w')?.dtype).toBe('F32')
  })

  it('int64 and int8 tensors are written back as int32', () => {
    const bytes = serializeSafetensors({ n: { dtype: 'I64', shape: [1], data: Int32Array.of(-7) } })
    expect(parseSafetensors(bytes).tensors.get('n')).toEqual({
      dtype: 'I32',
      shape: [1],
      data: Int32Array.of(-7),
    })
  })

  it('refuses what cannot be stored', () => {
    const data = Float32Array.of(1, 2)
    expect(() => serializeSafetensors({ a: { shape: [3], data } })).toThrow(ShapeError)
    expect(() => serializeSafetensors({ a: { shape: [-1, -2], data } })).toThrow(ShapeError)
    expect(() => serializeSafetensors({ a: { shape: [2], data } }, { dtype: { a: 'I32' } })).toThrow(
      DTypeError,
    )
    expect(() => serializeSafetensors({ a: { shape: [2], data } }, { dtype: { b: 'F16' } })).toThrow(
      ArgumentError,
    )
    expect(() => serializeSafetensors({ __metadata__: { shape: [2], data } })).toThrow(ArgumentError)
    const wide = { shape: [1], data: Int32Array.of(256), dtype: 'U8' } as const
    expect(() => serializeSafetensors({ a: wide })).toThrow(/element 0: 256 does not fit U8/)
  })
})

describe('files', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'evenfold-io-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('are read a tensor at a time, from a path, a Blob or bytes', async () => {
    const path = join(folder, 'a.safetensors')
    const tensors = {
      w: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      n: { shape: [1], data: Int32Array.of(5) },
    }
    await saveSafetensors(path, tensors, { metadata: { kind: 'test' } })
    const bytes = serializeSafetensors(tensors, { metadata: { kind: 'test' } })
    for (const source of [path, new Blob([bytes]), bytes]) {
      const reader = await openSafetensors(source)
      expect(reader.metadata).toEqual({ kind: 'test' })
      expect(reader.names()).toEqual(['w', 'n'])
      expect(reader.describe('w')).toEqual({ dtype: 'F32', shape: [2, 2] })
      expect((await reader.read('w')).data).toEqual(tensors.w.data)
      expect((await reader.read('n')).data).toEqual(tensors.n.data)
      await expect(reader.read('x')).rejects.toThrow(ArgumentError)
    }
  })

  it('reads only the ranges that it needs', async () => {
    const bytes = serializeSafetensors({
      a: { shape: [1000], data: new Float32Array(1000) },
      b: { shape: [2], data: Float32Array.of(1, 2) },
    })
    const ranges: number[] = []
    const read = async (offset: number, length: number) => {
      ranges.push(length)
      return bytes.subarray(offset, offset + length)
    }
    const reader = await openSafetensors({ size: bytes.length, read })
    await reader.read('b')
    expect(ranges).toEqual([8, bytes.length - 8 - 4008, 8])
    await reader.readRows('a', 990, 3)
    expect(ranges.at(-1)).toBe(12)
  })

  it('reads rows of the first axis', async () => {
    const data = Float32Array.from({ length: 24 }, (_, i) => i)
    const reader = await openSafetensors(
      serializeSafetensors({
        a: { shape: [4, 3, 2], data },
        none: { shape: [0, 5], data: new Int32Array() },
      }),
    )
    const { shape, data: rows, dtype } = await reader.readRows('a', 1, 2)
    expect({ shape, rows, dtype }).toEqual({ shape: [2, 3, 2], rows: data.subarray(6, 18), dtype: 'F32' })
    expect((await reader.readRows('a', 4, 0)).shape).toEqual([0, 3, 2])
    expect((await reader.readRows('none', 0, 0)).shape).toEqual([0, 5])
    for (const [start, count] of [
      [3, 2],
      [-1, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const)
      await expect(reader.readRows('a', start, count)).rejects.toThrow(/rows .* of 'a', which has 4/)
    await expect(reader.readRows('b', 0, 1)).rejects.toThrow("has no tensor 'b'")
  })

  it('a lying header costs no allocation', async () => {
    const path = join(folder, 'liar.safetensors')
    await writeFile(path, file('{}', 0, 99_999_999n))
    await expect(openSafetensors(path)).rejects.toThrow(FormatError)
    await writeFile(path, file(`{"a":${entry('F32', [2 ** 40], [0, 2 ** 42])}}`, 8))
    await expect(openSafetensors(path)).rejects.toThrow(/outside the 8 data bytes/)
  })

  it('a failed save leaves the old file and no other', async () => {
    const path = join(folder, 'kept.safetensors')
    await saveSafetensors(path, { a: { shape: [1], data: Float32Array.of(1) } })
    const bad = { shape: [1], data: Int32Array.of(-1), dtype: 'U8' } as const
    await expect(saveSafetensors(path, { a: bad })).rejects.toThrow(ArgumentError)
    expect((await (await openSafetensors(path)).read('a')).data).toEqual(Float32Array.of(1))
    expect((await readdir(folder)).filter((name) => name.startsWith('kept'))).toEqual(['kept.safetensors'])
  })
})

describe('files of other programs', () => {
  const data = process.env.EVENFOLD_DATA
  // Real data is not part of the project; EVENFOLD_DATA names its folder.
  it.skipIf(!data)('fixtures agree with one another (needs EVENFOLD_DATA)', async () => {
    const read = async (name: string) =>
      (await openSafetensors(join(data!, 'safetensors_fixtures', `model2vec_${name}.safetensors`))).read(
        'embeddings',
      )
    const [full, half, small] = [await read('float32'), await read('float16'), await read('int8')]
    expect([full.dtype, half.dtype, small.dtype]).toEqual(['F32', 'F16', 'I8'])
    expect(full.shape).toEqual([29528, 2])
    const rounded = Float32Array.from(full.data, (x) => float16FromBits(float16Bits(x)))
    expect(half.data).toEqual(rounded)
    const scale = Math.max(...full.data.map(Math.abs)) / 127
    small.data.forEach((q, i) => {
      expect(Math.abs(q * scale - full.data[i]!)).toBeLessThan(1.01 * scale)
    })
  })
})
