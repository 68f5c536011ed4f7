// A whole GRU layer over a sequence, all directions, as one autograd node.
//
// Training an RNN is bound by the number of kernels, so each time step costs two: one batched matmul h @ W_hh' over
// the directions, and one fused cell that reads and writes strided windows of a few large buffers. The input
// projection of all steps is one matmul, and backward gathers dW into two. The reverse direction is nothing but
// another stride over time.
//
//   r = sigmoid(gi_r + gh_r + b_hr)     z = sigmoid(gi_z + gh_z + b_hz)     with gi = x W_ih' + b_ih, gh = h W_hh'
//   n = tanh(gi_n + r * (gh_n + b_hn))  h' = (1 - z) n + z h                (torch.nn.GRU)
//
// Step s handles time s forwards and time T-1-s backwards. Buffers (T steps, D directions, B rows, H hidden):
//   gi, dgi [D, T, B, 3H] by time · gh [D, B, 3H] · gates r z n hn [D, T, B, 4H] by step · states [D, T+1, B, H] by step
//   output [T, B, D*H] by time · dgh [D, T, B, 3H] by step

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { constant, type Expr, input } from '../backend/expr'
import { Program } from '../backend/program'
import type { View } from '../backend/types'
import { zeros } from '../tensor/create'
import { copy, fillStorage } from '../tensor/ops/views'
import { gradEnabled, tidy } from '../tensor/scope'
import { copyProgram, Tensor } from '../tensor/tensor'
import { type GruMask, gruReference, type GruWeights } from './gru-reference'

interface Sizes {
  readonly T: number
  readonly B: number
  readonly D: number
  readonly H: number
  readonly I: number
}

/**
 * Runs one GRU layer. `x` [T, B, I], `h0` [D, B, H], one entry of `weights` per direction (the second runs backwards).
 * Returns the output [T, B, D*H] and the last states [D, B, H].
 */
export function gruSequence(
  x: Tensor,
  h0: Tensor,
  weights: readonly GruWeights[],
  mask: GruMask | null,
): { output: Tensor; hidden: Tensor } {
  const D = weights.length
  const [T, B, I] = x.shape
  const sizes = { T, B, D, I, H: h0.shape[2] }
  const hasBias = weights[0].biasIh !== null
  const inputs = [x, h0, ...weights.flatMap(parametersOf)]
  const training = gradEnabled() && inputs.some((t) => t.requiresGrad)

  const { output, hidden, states, gates, packedX } = tidy(() =>
    forward(sizes, x, h0, weights, mask, training),
  )
  const saved = [
    ...inputs,
    ...(training ? [states, gates as Tensor, packedX] : []),
    ...(mask ? [mask.keep] : []),
  ]
  record('gru', inputs, [output, hidden], saved, (grads, all, needs) => {
    const values = all.slice(0, inputs.length)
    const keep = mask ? { keep: all[all.length - 1], zeroOutput: mask.zeroOutput } : null
    if (gradEnabled()) {
      const composite = ([xs, h, ...rest]: Tensor[]): Tensor[] => {
        const { output: y, hidden: last } = gruReference(xs, h, regroup(rest, D, hasBias), keep)
        return [y, last]
      }
      return differentiateReference((...args) => composite(args), values, grads, needs)
    }
    const [st, ga, px] = all.slice(inputs.length)
    return backward(
      sizes,
      regroup(values.slice(2), D, hasBias),
      { states: st, gates: ga, x: px },
      keep,
      grads,
      needs,
      hasBias,
    )
  })
  // The tape holds what it saved; nobody else needs these.
  states.dispose()
  gates?.dispose()
  if (packedX !== x) packedX.dispose()
  return { output, hidden }
}

function parametersOf({ weightIh, weightHh, biasIh, biasHh }: GruWeights): Tensor[] {
  return biasIh && biasHh ? [weightIh, weightHh, biasIh, biasHh] : [weightIh, weightHh]
}

/** The weights from the flat list of their parameters. */
function regroup(parameters: readonly Tensor[], D: number, hasBias: boolean): GruWeights[] {
  const per = hasBias ? 4 : 2
  return Array.from({ length: D }, (_, d) => {
    const [weightIh, weightHh, biasIh = null, biasHh = null] = parameters.slice(d * per, (d + 1) * per)
    return { weightIh, weightHh, biasIh, biasHh }
  })
}

// ---- windows -------------------------------------------------------------------------------------------------

function windowOf(t: Tensor, offset: number, shape: readonly number[], strides: readonly number[]): View {
  return { ...t.view(), offset: t.offset + offset, shape, strides }
}

/** The directions' tensors behind one another: [D, ...]. */
function stacked(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors
  const out = Tensor.allocate(first.backend, first.dtype, [tensors.length, ...first.shape])
  tensors.forEach((t, d) => {
    first.backend.elementwise(
      copyProgram(t.dtype),
      [t.view()],
      [],
      [windowOf(out, d * t.size, t.shape, out.strides.slice(1))],
    )
  })
  return out
}

/** Columns [from, from + H) of the rows that step s touches, in a [D, T, B, width] buffer ordered by time. */
function byTime({ T, B, D, H }: Sizes, t: Tensor, width: number, s: number, from: number): View {
  const flip = (T - 1 - 2 * s) * B * width
  return windowOf(t, s * B * width + from, [D, B, H], [T * B * width + flip, width, 1])
}

/** The same in a buffer ordered by step; `steps` rows of B per direction. */
function byStep(
  { B, D, H }: Sizes,
  t: Tensor,
  width: number,
  steps: number,
  s: number,
  from: number,
  span = H,
): View {
  return windowOf(t, s * B * width + from, [D, B, span], [steps * B * width, width, 1])
}

/** What step s touches of the output [T, B, D*H]. */
function outputAt({ T, B, D, H }: Sizes, t: Tensor, s: number): View {
  return windowOf(t, s * B * D * H, [D, B, H], [H + (T - 1 - 2 * s) * B * D * H, D * H, 1])
}

function maskAt({ T, B, D, H }: Sizes, keep: Tensor, s: number): View {
  const [st, sb] = keep.strides
  return windowOf(keep, s * st, [D, B, H], [(T - 1 - 2 * s) * st, sb, 0])
}

/** [D, rows, cols] of a stacked matrix, or its transpose. */
function matrix(t: Tensor, transposed: boolean): View {
  const [D, rows, cols] = t.shape
  return transposed ? windowOf(t, 0, [D, cols, rows], [rows * cols, 1, cols]) : t.view()
}

// ---- forward -------------------------------------------------------------------------------------------------

const programs = new Map<string, Program>()

function cached(key: string, build: () => Program): Program {
  let program = programs.get(key)
  if (!program) {
    program = build()
    programs.set(key, program)
  }
  return program
}

/** Inputs: gi r z n, gh r z n, h, [b r z n], [mask]. Outputs: h', output, [r, z, n, hn]. */
function cellProgram(bias: boolean, mask: GruMask | null, training: boolean): Program {
  return cached(`forward ${bias} ${mask ? mask.zeroOutput : '-'} ${training}`, () => {
    const [ir, iz, inn, hr, hz, hn0, h] = Array.from({ length: 7 }, (_, i) => input(i))
    const withBias = (e: Expr, k: number): Expr => (bias ? e.add(input(7 + k)) : e)
    const r = ir.add(withBias(hr, 0)).sigmoid()
    const z = iz.add(withBias(hz, 1)).sigmoid()
    const hn = withBias(hn0, 2)
    const n = inn.add(r.mul(hn)).tanh()
    const next = constant(1).sub(z).mul(n).add(z.mul(h))
    const keep = input(bias ? 10 : 7, 'bool')
    const held = mask ? keep.where(next, h) : next
    const output = mask?.zeroOutput ? keep.where(next, 0) : held
    return new Program(
      [held, output, ...(training ? [r, z, n, hn] : [])],
      7 + (bias ? 3 : 0) + (mask ? 1 : 0),
    )
  })
}

function forward(
  sizes: Sizes,
  x: Tensor,
  h0: Tensor,
  weights: readonly GruWeights[],
  mask: GruMask | null,
  training: boolean,
) {
  const { T, B, D, H, I } = sizes
  const { backend, dtype } = x
  const make = (shape: readonly number[]): Tensor => Tensor.allocate(backend, dtype, shape)
  const packedX = x.isContiguous ? x : copy(x.detach())
  const wIh = stacked(weights.map((w) => w.weightIh))
  const wHh = stacked(weights.map((w) => w.weightHh))
  const bias = weights[0].biasIh ? stacked(weights.map((w) => w.biasHh as Tensor)) : null

  const gi = make([D, T, B, 3 * H])
  if (bias) {
    const bIh = stacked(weights.map((w) => w.biasIh as Tensor))
    backend.elementwise(copyProgram(dtype), [windowOf(bIh, 0, gi.shape, [3 * H, 0, 0, 1])], [], [gi.view()])
  }
  const rows = T * B
  const xRows = windowOf(packedX, 0, [D, rows, I], [0, I, 1])
  backend.matmul(
    xRows,
    matrix(wIh, true),
    windowOf(gi, 0, [D, rows, 3 * H], [rows * 3 * H, 3 * H, 1]),
    bias !== null,
  )

  // Without a gradient to come, two states are enough; the layout stays the same.
  const states = make([D, T + 1, B, H])
  const gates = training ? make([D, T, B, 4 * H]) : null
  const output = make([T, B, D * H])
  const gh = make([D, B, 3 * H])
  const stateAt = (s: number): View => byStep(sizes, states, H, T + 1, s, 0)
  backend.elementwise(copyProgram(dtype), [h0.view()], [], [stateAt(0)])
  const program = cellProgram(bias !== null, mask, training)
  for (let s = 0; s < T; s++) {
    backend.matmul(stateAt(s), matrix(wHh, true), gh.view(), false)
    const ins = [0, 1, 2].map((k) => byTime(sizes, gi, 3 * H, s, k * H))
    for (const k of [0, 1, 2]) ins.push(windowOf(gh, k * H, [D, B, H], [B * 3 * H, 3 * H, 1]))
    ins.push(stateAt(s))
    if (bias) for (const k of [0, 1, 2]) ins.push(windowOf(bias, k * H, [D, B, H], [3 * H, 0, 1]))
    if (mask) ins.push(maskAt(sizes, mask.keep, s))
    const outs = [stateAt(s + 1), outputAt(sizes, output, s)]
    if (gates) for (const k of [0, 1, 2, 3]) outs.push(byStep(sizes, gates, 4 * H, T, s, k * H))
    backend.elementwise(program, ins, [], outs)
  }
  const hidden = make([D, B, H])
  backend.elementwise(copyProgram(dtype), [stateAt(T)], [], [hidden.view()])
  return { output, hidden, states, gates, packedX }
}

// ---- backward ------------------------------------------------------------------------------------------------

/** Inputs: dh, dOutput, r, z, n, hn, h, [mask]. Outputs: dh of the step before (direct part), dgi r z n, dgh r z n. */
function gradientProgram(mask: GruMask | null): Program {
  return cached(`backward ${mask ? mask.zeroOutput : '-'}`, () => {
    const [carry, dOut, r, z, n, hn, h] = Array.from({ length: 7 }, (_, i) => input(i))
    const keep = input(7, 'bool')
    const dh = carry.add(mask?.zeroOutput ? keep.where(dOut, 0) : dOut)
    const one = constant(1)
    const dn = dh.mul(one.sub(z)).mul(one.sub(n.mul(n)))
    const dz = dh.mul(h.sub(n)).mul(z).mul(one.sub(z))
    const dr = dn.mul(hn).mul(r).mul(one.sub(r))
    const only = (e: Expr): Expr => (mask ? keep.where(e, 0) : e)
    const before = mask ? keep.where(dh.mul(z), dh) : dh.mul(z)
    return new Program(
      [before, only(dr), only(dz), only(dn), only(dr), only(dz), only(dn.mul(r))],
      mask ? 8 : 7,
    )
  })
}

const SUM = new Program([input(0)], 1)

function backward(
  sizes: Sizes,
  weights: readonly GruWeights[],
  kept: { states: Tensor; gates: Tensor; x: Tensor },
  mask: GruMask | null,
  [dOutput, dHidden]: readonly (Tensor | null)[],
  needs: readonly boolean[],
  hasBias: boolean,
): (Tensor | null)[] {
  const { T, B, D, H, I } = sizes
  const { backend, dtype } = kept.x
  const make = (shape: readonly number[]): Tensor => Tensor.allocate(backend, dtype, shape)
  const wHh = stacked(weights.map((w) => w.weightHh))
  const carry = make([D, B, H])
  if (dHidden) backend.elementwise(copyProgram(dtype), [dHidden.view()], [], [carry.view()])
  else fillStorage(carry, 0)
  const dOut = dOutput ? dOutput.contiguous() : zeros([T, B, D * H], { dtype, device: kept.x.device })
  const dgi = make([D, T, B, 3 * H])
  const dgh = make([D, T, B, 3 * H])
  const program = gradientProgram(mask)
  for (let s = T - 1; s >= 0; s--) {
    const ins = [carry.view(), outputAt(sizes, dOut, s)]
    for (const k of [0, 1, 2, 3]) ins.push(byStep(sizes, kept.gates, 4 * H, T, s, k * H))
    ins.push(byStep(sizes, kept.states, H, T + 1, s, 0))
    if (mask) ins.push(maskAt(sizes, mask.keep, s))
    const outs = [carry.view()]
    for (const k of [0, 1, 2]) outs.push(byTime(sizes, dgi, 3 * H, s, k * H))
    for (const k of [0, 1, 2]) outs.push(byStep(sizes, dgh, 3 * H, T, s, k * H))
    backend.elementwise(program, ins, [], outs)
    backend.matmul(byStep(sizes, dgh, 3 * H, T, s, 0, 3 * H), matrix(wHh, false), carry.view(), true)
  }

  const rows = T * B
  const transposed = (t: Tensor): View => windowOf(t, 0, [D, 3 * H, rows], [rows * 3 * H, 1, 3 * H])
  const weightGradient = (of: Tensor, against: View, cols: number): Tensor => {
    const out = make([D, 3 * H, cols])
    backend.matmul(transposed(of), against, out.view(), false)
    return out
  }
  const biasGradient = (of: Tensor): Tensor => {
    const out = make([D, 3 * H])
    backend.reduce('sum', SUM, [transposed(of)], [], out.view())
    return out
  }
  const [needX, needH0, ...needParameters] = needs
  const dwIh = weightGradient(dgi, windowOf(kept.x, 0, [D, rows, I], [0, I, 1]), I)
  const dwHh = weightGradient(dgh, windowOf(kept.states, 0, [D, rows, H], [(T + 1) * B * H, H, 1]), H)
  const stackedGrads = hasBias ? [dwIh, dwHh, biasGradient(dgi), biasGradient(dgh)] : [dwIh, dwHh]
  let dx: Tensor | null = null
  if (needX) {
    dx = make([T, B, I])
    const out = windowOf(dx, 0, [rows, I], [I, 1])
    weights.forEach((w, d) => {
      backend.matmul(
        windowOf(dgi, d * rows * 3 * H, [rows, 3 * H], [3 * H, 1]),
        w.weightIh.view(),
        out,
        d > 0,
      )
    })
  }
  const perDirection = stackedGrads.length
  const dParameters = needParameters.map((need, i) =>
    need ? stackedGrads[i % perDirection].select(0, Math.floor(i / perDirection)) : null,
  )
  return [dx, needH0 ? carry : null, ...dParameters]
}
