import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FormatError, GraphError } from '../src/errors'
import { loadTensors, parseSafetensors, saveTensors, serializeSafetensors, tensorsToBytes } from '../src/io'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-io-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('tensors in files', () => {
  it('come back with dtype, shape and every bit', async () => {
    const saved = {
      'layer.weight': ef.tensor(
        [
          [1.5, Number.NaN],
          [-0, 1e-40],
        ],
        { device: 'cpu' },
      ),
      'layer.step': ef.tensor(Int32Array.of(7), { shape: [], device: 'cpu' }),
      exact: ef.tensor([Math.PI], { dtype: 'float64', device: 'cpu' }),
      mask: ef.tensor([true, false], { device: 'cpu' }),
      none: ef.zeros([0, 3], { device: 'cpu' }),
    }
    const path = join(folder, 'a.safetensors')
    await saveTensors(path, saved, { metadata: { note: 'x' } })
    const { tensors, metadata } = await loadTensors(path, { device: 'cpu' })
    expect(metadata).toEqual({ note: 'x' })
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(saved).sort())
    for (const [name, original] of Object.entries(saved)) {
      const loaded = tensors[name]!
      expect([loaded.dtype, loaded.shape]).toEqual([original.dtype, original.shape])
      expect(await loaded.data()).toEqual(await original.data())
    }
    expect(await tensorsToBytes(saved, { metadata: { note: 'x' } })).toEqual(
      await tensorsToBytes(tensors, { metadata: { note: 'x' } }),
    )
  })

  it('are written as seen, also through views', async () => {
    const x = ef.tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { device: 'cpu' },
    )
    const bytes = await tensorsToBytes({ t: x.transpose(0, 1) })
    expect(parseSafetensors(bytes).tensors.get('t')).toEqual({
      dtype: 'F32',
      shape: [3, 2],
      data: Float32Array.of(1, 4, 2, 5, 3, 6),
    })
  })

  it('can be stored in half precision and loaded as float64', async () => {
    const bytes = await tensorsToBytes({ w: ef.tensor([1, 2049], { device: 'cpu' }) }, { dtype: 'F16' })
    const { tensors } = await loadTensors(bytes, { device: 'cpu', dtype: 'float64' })
    expect(tensors.w!.dtype).toBe('float64')
    expect(await tensors.w!.tolist()).toEqual([1, 2048])
  })

  it('int64 and uint8 files give int32 tensors', async () => {
    const bytes = serializeSafetensors({ u: { shape: [2], data: Uint8Array.of(0, 255) } })
    const { tensors } = await loadTensors(bytes, { device: 'cpu' })
    expect([tensors.u!.dtype, await tensors.u!.tolist()]).toEqual(['int32', [0, 255]])
  })

  it('a malformed file leaves no tensor behind', async () => {
    const bytes = await tensorsToBytes({
      a: ef.tensor([1], { device: 'cpu' }),
      b: ef.tensor([2], { device: 'cpu' }),
    })
    const before = ef.memory().cpu.tensors
    await expect(loadTensors(bytes.subarray(0, -1), { device: 'cpu' })).rejects.toThrow(FormatError)
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('a tensor that changes while it is saved is an error, and the old file stays', async () => {
    const path = join(folder, 'b.safetensors')
    const a = ef.tensor([1], { device: 'cpu' })
    await saveTensors(path, { a })
    const saving = saveTensors(path, { a })
    a.fill_(2)
    await expect(saving).rejects.toThrow(GraphError)
    expect(await (await loadTensors(path, { device: 'cpu' })).tensors.a!.tolist()).toEqual([1])
    expect((await readdir(folder)).filter((name) => name.startsWith('b.'))).toEqual(['b.safetensors'])
  })
})
