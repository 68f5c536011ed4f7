// Changing dtype and device.

import { type Expr, input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { getBackend } from '../../backend/registry'
import type { DeviceName, DType } from '../../backend/types'
import { DeviceError, DTypeError } from '../../errors'
import { gradEnabled } from '../scope'
import { scalarType, Tensor } from '../tensor'
import { map } from './apply'

const TYPES = ['float', 'int', 'bool'] as const
const CAST = Object.fromEntries(
  TYPES.flatMap((from) =>
    TYPES.map((to) => [`${from}>${to}`, new Program([(input(0, from) as Expr).cast(to)], 1)]),
  ),
)

export function checkDType(op: string, dtype: DType, backend: Tensor['backend']): void {
  if (!['float32', 'float64', 'int32', 'bool'].includes(dtype)) {
    throw new DTypeError(
      `${op}: unknown dtype '${String(dtype)}'; expected 'float32', 'float64', 'int32' or 'bool'`,
    )
  }
  if (!backend.supports(dtype)) {
    throw new DTypeError(
      `${op}: device '${backend.name}' has no ${dtype}; name another dtype, such as 'float32'`,
    )
  }
}

/** The values in another dtype. Float to int truncates toward zero; to bool is `!= 0`. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x
  checkDType('to', dtype, x.backend)
  return map('to', CAST[`${scalarType(x.dtype)}>${scalarType(dtype)}`], [x], [], [dtype])[0]
}

/**
 * The values on another device, at once, outside the graph.
 * @throws DeviceError from webgpu to cpu, because GPU memory can only be read asynchronously: use `await x.cpu()`; and,
 * for the same reason (its gradient would have to come back), for a tensor that requires a gradient while one is recorded.
 */
export function toDevice(x: Tensor, device: DeviceName): Tensor {
  if (x.device === device) return x
  const backend = getBackend(device)
  checkDType('to', x.dtype, backend)
  if (x.requiresGrad && gradEnabled()) {
    throw new DeviceError(
      `to('${device}'): no gradient can come back from another device in the middle of a backward pass; ` +
        'create the leaf there, or move x.detach()',
    )
  }
  const values = x.dataSync()
  if (!values) {
    throw new DeviceError(
      `to('${device}'): a ${x.device} tensor cannot be read at once; use \`await x.cpu()\``,
    )
  }
  const out = Tensor.allocate(backend, x.dtype, x.shape)
  if (out.size > 0) backend.write(out.storage.buffer, x.dtype, values, 0)
  out.storage.range = x.idRange
  return out
}

/** A copy on the cpu, outside the graph (or the tensor itself if it is there already). */
export async function cpu(x: Tensor): Promise<Tensor> {
  if (x.device === 'cpu') return x
  const values = await x.data()
  const backend = getBackend('cpu')
  const out = Tensor.allocate(backend, x.dtype, x.shape)
  if (out.size > 0) backend.write(out.storage.buffer, x.dtype, values, 0)
  return out
}

/** `x.to('float64')`, `x.to('webgpu')`. */
export function to(x: Tensor, target: DType | DeviceName): Tensor {
  return target === 'cpu' || target === 'webgpu' ? toDevice(x, target) : cast(x, target)
}
