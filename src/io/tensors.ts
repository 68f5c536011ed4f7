// safetensors files as tensors. A file written here is read by PyTorch and the other way round.

import { platform } from '#platform'
import type { DeviceName, DType, HostArray } from '../backend/types'
import { GraphError } from '../errors'
import { tensor } from '../tensor/create'
import { breathe, type Tensor } from '../tensor/tensor'
import { encodeElements, type SafetensorsDType, type StorageDType } from './dtypes'
import {
  type HostTensor,
  openSafetensors,
  planTensors,
  type SafetensorsReader,
  type SerializeOptions,
} from './safetensors'

const STORED: Record<DType, StorageDType> = { float64: 'F64', float32: 'F32', int32: 'I32', bool: 'BOOL' }

const HELD: Record<SafetensorsDType, DType> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float32',
  BF16: 'float32',
  I64: 'int32',
  I32: 'int32',
  I8: 'int32',
  U8: 'int32',
  BOOL: 'bool',
}

/** The dtype of the tensor that a file's format is read into. */
export function heldDType(stored: SafetensorsDType): DType {
  return HELD[stored]
}

/** How files and Blobs are read into tensors. */
export interface LoadTensorsOptions {
  /** Default: the device chosen by `init`, or cpu. */
  device?: DeviceName
  /** dtype of all floating-point tensors; default: float64 for F64, else float32. */
  dtype?: 'float32' | 'float64'
}

/**
 * Reads a safetensors file (a path under Node, a Blob or bytes anywhere) into tensors, one at a time.
 * F16 and BF16 become float32; I64 (with a range check), I8 and U8 int32. Throws FormatError.
 */
export async function loadTensors(
  from: string | Blob | Uint8Array,
  options: LoadTensorsOptions = {},
): Promise<{ tensors: Record<string, Tensor>; metadata: Readonly<Record<string, string>> }> {
  const reader = await openSafetensors(from)
  const tensors: [string, Tensor][] = []
  try {
    for (const name of reader.names()) {
      tensors.push([name, await readTensor(reader, name, options)])
      await breathe()
    }
  } catch (error) {
    for (const [, loaded] of tensors) loaded.dispose()
    throw error
  }
  return { tensors: Object.fromEntries(tensors), metadata: reader.metadata }
}

/** Reads one tensor of an open file. */
export async function readTensor(
  reader: SafetensorsReader,
  name: string,
  options: LoadTensorsOptions = {},
): Promise<Tensor> {
  return hostToTensor(await reader.read(name), options)
}

function hostToTensor(
  { dtype: stored, shape, data }: HostTensor,
  { device, dtype }: LoadTensorsOptions,
): Tensor {
  const held = heldDType(stored)
  const isFloat = held === 'float32' || held === 'float64'
  return tensor(data, { shape, dtype: isFloat && dtype ? dtype : held, ...(device && { device }) })
}

/**
 * Writes tensors to a safetensors file, read back from their device one at a time; a failure leaves the
 * old file as it was. Await it before the next optimizer step: a tensor changed meanwhile is a GraphError.
 */
export async function saveTensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: SerializeOptions = {},
): Promise<void> {
  const { header, data } = planTensorFile(tensors, options)
  async function* parts() {
    yield header
    yield* data()
  }
  await platform.writeFileAtomic(path, parts())
}

/** The bytes that `saveTensors` would write; for a page's download. */
export async function tensorsToBytes(
  tensors: Readonly<Record<string, Tensor>>,
  options: SerializeOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { header, data, byteLength } = planTensorFile(tensors, options)
  const file = new Uint8Array(byteLength)
  file.set(header)
  let position = header.byteLength
  for await (const part of data()) {
    file.set(part, position)
    position += part.byteLength
  }
  return file
}

/** How many bytes `saveTensors` would write. Reads nothing. */
export function savedByteLength(
  tensors: Readonly<Record<string, Tensor>>,
  options: SerializeOptions = {},
): number {
  return planTensorFile(tensors, options).byteLength
}

function planTensorFile(tensors: Readonly<Record<string, Tensor>>, options: SerializeOptions) {
  const items = Object.entries(tensors).map(([name, { shape, dtype }]) => ({
    name,
    shape,
    natural: STORED[dtype],
  }))
  const { header, ordered, dataSize } = planTensors(items, options)
  const versions = new Map(Object.entries(tensors).map(([name, t]) => [name, t.storage.version]))
  async function* data(): AsyncGenerator<Uint8Array> {
    for (const { name, dtype } of ordered) {
      const source = tensors[name]!
      const values: HostArray = await source.data()
      if (source.storage.version !== versions.get(name)) {
        throw new GraphError(
          `tensor '${name}' was changed while it was being saved; await the save before the next step`,
        )
      }
      yield* encodeElements(values, dtype, name)
    }
  }
  return { header, data, byteLength: header.byteLength + dataSize }
}
