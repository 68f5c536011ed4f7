// Parts of a file wherever it is (a path, a page's File or Blob, bytes), for formats that are read out of order.

import { platform } from '#platform'

/** A path (under Node), a page's File or Blob, or the bytes. */
export type RangeSource = string | Blob | Uint8Array

/** A file that is read in parts; memory is that of the part. */
export interface RangeReader {
  /** What error messages call it. */
  readonly name: string
  readonly byteLength: number
  /** `length` bytes from `offset`; fewer at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>
}

export async function openRanges(source: RangeSource): Promise<RangeReader> {
  if (typeof source === 'string') {
    return {
      name: source,
      byteLength: await platform.fileSize(source),
      read: (offset, length) => platform.readFile(source, offset, length),
    }
  }
  if (source instanceof Uint8Array) {
    const read = async (offset: number, length: number) => source.slice(offset, offset + length)
    return { name: 'data', byteLength: source.byteLength, read }
  }
  return {
    name: 'name' in source && typeof source.name === 'string' ? source.name : 'data',
    byteLength: source.size,
    read: async (offset, length) => new Uint8Array(await source.slice(offset, offset + length).arrayBuffer()),
  }
}
