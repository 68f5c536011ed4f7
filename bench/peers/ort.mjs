// onnxruntime-web: a model of one MatMul node, written byte by byte.
import ort from 'onnxruntime-web'
import { serve } from '../child'
import { values } from '../data'

/** The least of protobuf that ONNX needs: fields 0 (varint) and 2 (bytes). */
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)])
const integer = (field, n) => [...varint(field << 3), ...varint(n)]
const bytes = (field, content) => [...varint((field << 3) | 2), ...varint(content.length), ...content]
const text = (field, string) => bytes(field, [...Buffer.from(string)])

function matmulModel(n) {
  const dimension = bytes(1, integer(1, n))
  const float = integer(1, 1)
  const type = bytes(2, bytes(1, [...float, ...bytes(2, [...dimension, ...dimension])]))
  const value = (name) => [...text(1, name), ...type]
  const node = [...text(1, 'a'), ...text(1, 'b'), ...text(2, 'c'), ...text(4, 'MatMul')]
  const graph = [
    ...bytes(1, node),
    ...text(2, 'graph'),
    ...bytes(11, value('a')),
    ...bytes(11, value('b')),
    ...bytes(12, value('c')),
  ]
  return Uint8Array.from([...integer(1, 8), ...bytes(7, graph), ...bytes(8, integer(2, 13))])
}

await serve(async ({ sizes: { n } }) => {
  ort.env.wasm.numThreads = 1
  const session = await ort.InferenceSession.create(matmulModel(n), { executionProviders: ['wasm'] })
  const input = (name) => new ort.Tensor('float32', values(name, n * n, 1), [n, n])
  const feeds = { a: input('a'), b: input('b') }
  return {
    step: async () => {
      await session.run(feeds)
    },
  }
})
