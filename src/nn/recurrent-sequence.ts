// A whole recurrent layer over a sequence, all directions, as one autograd node.
//
// Training an RNN is bound by the number of kernels, so each time step costs two: one batched matmul h @ W_hh' over
// the directions, and one fused cell (recurrent-cells.ts) that reads and writes strided windows of a few large buffers.
// The input projection of all steps is one matmul, and backward gathers dW into two. The reverse direction is nothing
// but another stride over time.
//
// Step s handles time s forwards and time T-1-s backwards. Buffers (T steps, D directions, B rows, H hidden, G gates,
// N states, K values kept per unit):
//   gi, dgi [D, T, B, G*H] by time · gh [D, B, G*H] · kept [D, T, B, K*H] by step · states [N, D, T+1, B, H] by step
//   output [T, B, D*H] by time · dgh [D, T, B, G*H] by step · carry [N, D, B, H]

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { type Expr, input } from '../backend/expr'
import { Program } from '../backend/program'
import type { RecurrentKernels, View } from '../backend/types'
import { zeros } from '../tensor/create'
import { copy, fillStorage, transpose } from '../tensor/ops/views'
import { gradEnabled, tidy } from '../tensor/scope'
import { copyProgram, Tensor } from '../tensor/tensor'
import type { RecurrentCell } from './recurrent-cells'
import {
  type RecurrentMask,
  recurrentReference,
  type RecurrentResult,
  type RecurrentWeights,
} from './recurrent-reference'
import {
  byStep,
  byTime,
  carryOf,
  maskAt,
  matrix,
  outputAt,
  range,
  type Sizes,
  stacked,
  stateAt,
  windowOf,
} from './recurrent-windows'

/**
 * Runs one layer. `x` [T, B, I], `first` the first states, each [D, B, H], one entry of `weights` per direction (the
 * second runs backwards). Returns the output [T, B, D*H] and the last states, each [D, B, H].
 */
export function recurrentSequence(
  cell: RecurrentCell,
  x: Tensor,
  first: readonly Tensor[],
  weights: readonly RecurrentWeights[],
  mask: RecurrentMask | null,
): RecurrentResult {
  const D = weights.length
  const [T, B, I] = x.shape
  const sizes = { T, B, D, I, H: first[0].shape[2] }
  const hasBias = weights[0].biasIh !== null
  const inputs = [x, ...first, ...weights.flatMap(parametersOf)]
  const training = gradEnabled() && inputs.some((t) => t.requiresGrad)

  const { output, last, states, kept, packedX } = tidy(() =>
    forward(cell, sizes, x, first, weights, mask, training),
  )
  const saved = [
    ...inputs,
    ...(training ? [states, kept as Tensor, packedX] : []),
    ...(mask ? [mask.keep] : []),
  ]
  record(cell.op, inputs, [output, ...last], saved, (grads, all, needs) => {
    const values = all.slice(0, inputs.length)
    const keep = mask ? { keep: all[all.length - 1], zeroOutput: mask.zeroOutput } : null
    if (gradEnabled()) {
      const composite = ([xs, ...rest]: Tensor[]): Tensor[] => {
        const own = regroup(rest.slice(cell.states), D, hasBias)
        const result = recurrentReference(cell.step, xs, rest.slice(0, cell.states), own, keep)
        return [result.output, ...result.last]
      }
      return differentiateReference((...args) => composite(args), values, grads, needs)
    }
    const [st, ke, px] = all.slice(inputs.length)
    const own = regroup(values.slice(1 + cell.states), D, hasBias)
    return backward(cell, sizes, own, { states: st, kept: ke, x: px }, keep, grads, needs, hasBias)
  })
  // The tape holds what it saved; nobody else needs these.
  states.dispose()
  kept?.dispose()
  if (packedX !== x) packedX.dispose()
  return { output, last }
}

function parametersOf({ weightIh, weightHh, biasIh, biasHh }: RecurrentWeights): Tensor[] {
  return biasIh && biasHh ? [weightIh, weightHh, biasIh, biasHh] : [weightIh, weightHh]
}

/** The weights from the flat list of their parameters. */
function regroup(parameters: readonly Tensor[], D: number, hasBias: boolean): RecurrentWeights[] {
  const per = hasBias ? 4 : 2
  return Array.from({ length: D }, (_, d) => {
    const [weightIh, weightHh, biasIh = null, biasHh = null] = parameters.slice(d * per, (d + 1) * per)
    return { weightIh, weightHh, biasIh, biasHh }
  })
}

/** The device's own kernels for a whole sequence, where it has them for this one. */
function kernelsFor(
  { gates: G, states: N, kept: K }: RecurrentCell,
  sizes: Sizes,
  x: Tensor,
): RecurrentKernels | null {
  const { recurrent } = x.backend
  return recurrent && x.dtype === 'float32' && recurrent.fits({ ...sizes, G, N, K }) ? recurrent : null
}

/** [D, G*H, H] to [D, H, G*H]: neighbouring units read neighbouring weights. */
function alongGates(w: Tensor): Tensor {
  return copy(transpose(w, 1, 2))
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

/** Hands out inputs in order. */
function operands(): { take: (count: number) => Expr[]; bool: () => Expr; count: () => number } {
  let next = 0
  return {
    take: (count) => range(count).map(() => input(next++)),
    bool: () => input(next++, 'bool'),
    count: () => next,
  }
}

/** Inputs: gi and gh per gate, states, [b_hh per gate], [mask]. Outputs: next states, output, [what is kept]. */
function cellProgram(
  cell: RecurrentCell,
  bias: boolean,
  mask: RecurrentMask | null,
  training: boolean,
): Program {
  const key = `${cell.op} forward ${bias} ${mask ? mask.zeroOutput : '-'} ${training}`
  return cached(key, () => {
    const from = operands()
    const [gi, gh, states] = [from.take(cell.gates), from.take(cell.gates), from.take(cell.states)]
    const biases = from.take(bias ? cell.gates : 0)
    const keep = mask ? from.bool() : null
    const projected = bias ? gh.map((e, k) => e.add(biases[k])) : gh
    const { states: next, kept } = cell.next(gi, projected, states)
    const held = keep ? next.map((e, n) => keep.where(e, states[n])) : next
    const output = keep && mask?.zeroOutput ? keep.where(next[0], 0) : held[0]
    return new Program([...held, output, ...(training ? kept : [])], from.count())
  })
}

const SUM_OF_TWO = new Program([input(0).add(input(1))], 2)

function forward(
  cell: RecurrentCell,
  sizes: Sizes,
  x: Tensor,
  first: readonly Tensor[],
  weights: readonly RecurrentWeights[],
  mask: RecurrentMask | null,
  training: boolean,
) {
  const { T, B, D, H, I } = sizes
  const { gates: G, states: N, kept: K } = cell
  const { backend, dtype } = x
  const make = (shape: readonly number[]): Tensor => Tensor.allocate(backend, dtype, shape)
  const packedX = x.isContiguous ? x : copy(x.detach())
  const wIh = stacked(weights.map((w) => w.weightIh))
  const wHh = stacked(weights.map((w) => w.weightHh))
  const hasBias = weights[0].biasIh !== null
  const bHh = hasBias ? stacked(weights.map((w) => w.biasHh as Tensor)) : null
  // In the cell only where it does not simply add to the other one.
  const bias = cell.oneBias ? null : bHh

  const gi = make([D, T, B, G * H])
  if (bHh) {
    const bIh = stacked(weights.map((w) => w.biasIh as Tensor))
    const each = (b: Tensor): View => windowOf(b, 0, gi.shape, [G * H, 0, 0, 1])
    if (cell.oneBias) backend.elementwise(SUM_OF_TWO, [each(bIh), each(bHh)], [], [gi.view()])
    else backend.elementwise(copyProgram(dtype), [each(bIh)], [], [gi.view()])
  }
  const rows = T * B
  backend.matmul(
    windowOf(packedX, 0, [D, rows, I], [0, I, 1]),
    matrix(wIh, true),
    windowOf(gi, 0, [D, rows, G * H], [rows * G * H, G * H, 1]),
    hasBias,
  )

  // Without a gradient to come, two states are enough; the layout stays the same.
  const states = make([N, D, T + 1, B, H])
  const kept = training ? make([D, T, B, K * H]) : null
  const output = make([T, B, D * H])
  first.forEach((t, n) => {
    backend.elementwise(copyProgram(dtype), [t.view()], [], [stateAt(sizes, states, n, 0)])
  })
  const program = cellProgram(cell, bias !== null, mask, training)
  const kernels = kernelsFor(cell, sizes, x)
  if (kernels) {
    kernels.forward({
      sizes: { ...sizes, G, N, K },
      program,
      gi: gi.view(),
      weights: alongGates(wHh).view(),
      states: states.view(),
      output: output.view(),
      bias: bias?.view() ?? null,
      mask: mask?.keep.view() ?? null,
      kept: kept?.view() ?? null,
    })
  } else {
    const gh = make([D, B, G * H])
    for (let s = 0; s < T; s++) {
      backend.matmul(stateAt(sizes, states, 0, s), matrix(wHh, true), gh.view(), false)
      const ins = range(G).map((k) => byTime(sizes, gi, G * H, s, k * H))
      for (const k of range(G)) ins.push(windowOf(gh, k * H, [D, B, H], [B * G * H, G * H, 1]))
      for (const n of range(N)) ins.push(stateAt(sizes, states, n, s))
      if (bias) for (const k of range(G)) ins.push(windowOf(bias, k * H, [D, B, H], [G * H, 0, 1]))
      if (mask) ins.push(maskAt(sizes, mask.keep, s))
      const outs = range(N).map((n) => stateAt(sizes, states, n, s + 1))
      outs.push(outputAt(sizes, output, s))
      if (kept) for (const k of range(K)) outs.push(byStep(sizes, kept, K * H, T, s, k * H))
      backend.elementwise(program, ins, [], outs)
    }
  }
  const last = range(N).map((n) => {
    const state = make([D, B, H])
    backend.elementwise(copyProgram(dtype), [stateAt(sizes, states, n, T)], [], [state.view()])
    return state
  })
  return { output, last, states, kept, packedX }
}

// ---- backward ------------------------------------------------------------------------------------------------

/** Inputs: carry per state, dOutput, what was kept, states, [mask]. Outputs: the carry's direct part, dgi, dgh. */
function gradientProgram(cell: RecurrentCell, mask: RecurrentMask | null): Program {
  return cached(`${cell.op} backward ${mask ? mask.zeroOutput : '-'}`, () => {
    const from = operands()
    const [carry, [dOut], kept] = [from.take(cell.states), from.take(1), from.take(cell.kept)]
    const states = from.take(cell.states)
    const keep = mask ? from.bool() : null
    const grads = [...carry]
    grads[0] = carry[0].add(keep && mask?.zeroOutput ? keep.where(dOut, 0) : dOut)
    const { states: direct, gi, gh } = cell.gradient(grads, kept, states)
    const before = keep ? direct.map((e, n) => keep.where(e, grads[n])) : direct
    const only = (e: Expr): Expr => (keep ? keep.where(e, 0) : e)
    return new Program([...before, ...gi.map(only), ...gh.map(only)], from.count())
  })
}

const SUM = new Program([input(0)], 1)

function backward(
  cell: RecurrentCell,
  sizes: Sizes,
  weights: readonly RecurrentWeights[],
  saved: { states: Tensor; kept: Tensor; x: Tensor },
  mask: RecurrentMask | null,
  [dOutput, ...dLast]: readonly (Tensor | null)[],
  needs: readonly boolean[],
  hasBias: boolean,
): (Tensor | null)[] {
  const { T, B, D, H, I } = sizes
  const { gates: G, states: N, kept: K } = cell
  const { backend, dtype } = saved.x
  const make = (shape: readonly number[]): Tensor => Tensor.allocate(backend, dtype, shape)
  const wHh = stacked(weights.map((w) => w.weightHh))
  const carry = make([N, D, B, H])
  if (dLast.some((g) => g === null)) fillStorage(carry, 0)
  dLast.forEach((g, n) => {
    if (g) backend.elementwise(copyProgram(dtype), [g.view()], [], [carryOf(sizes, carry, n)])
  })
  const dOut = dOutput ? dOutput.contiguous() : zeros([T, B, D * H], { dtype, device: saved.x.device })
  const dgi = make([D, T, B, G * H])
  const dgh = make([D, T, B, G * H])
  const program = gradientProgram(cell, mask)
  const kernels = kernelsFor(cell, sizes, saved.x)
  if (kernels) {
    kernels.backward({
      sizes: { ...sizes, G, N, K },
      program,
      weights: wHh.view(),
      carry: carry.view(),
      dOutput: dOut.view(),
      kept: saved.kept.view(),
      states: saved.states.view(),
      mask: mask?.keep.view() ?? null,
      dgi: dgi.view(),
      dgh: dgh.view(),
    })
  } else {
    for (let s = T - 1; s >= 0; s--) {
      const ins = range(N).map((n) => carryOf(sizes, carry, n))
      ins.push(outputAt(sizes, dOut, s))
      for (const k of range(K)) ins.push(byStep(sizes, saved.kept, K * H, T, s, k * H))
      for (const n of range(N)) ins.push(stateAt(sizes, saved.states, n, s))
      if (mask) ins.push(maskAt(sizes, mask.keep, s))
      const outs = range(N).map((n) => carryOf(sizes, carry, n))
      for (const k of range(G)) outs.push(byTime(sizes, dgi, G * H, s, k * H))
      for (const k of range(G)) outs.push(byStep(sizes, dgh, G * H, T, s, k * H))
      backend.elementwise(program, ins, [], outs)
      const through = byStep(sizes, dgh, G * H, T, s, 0, G * H)
      backend.matmul(through, matrix(wHh, false), carryOf(sizes, carry, 0), true)
    }
  }

  const rows = T * B
  const transposed = (t: Tensor): View => windowOf(t, 0, [D, G * H, rows], [rows * G * H, 1, G * H])
  const weightGradient = (of: Tensor, against: View, cols: number): Tensor => {
    const out = make([D, G * H, cols])
    backend.matmul(transposed(of), against, out.view(), false)
    return out
  }
  const biasGradient = (of: Tensor): Tensor => {
    const out = make([D, G * H])
    backend.reduce('sum', SUM, [transposed(of)], [], out.view())
    return out
  }
  const [needX, ...rest] = needs
  const [needStates, needParameters] = [rest.slice(0, N), rest.slice(N)]
  const dwIh = weightGradient(dgi, windowOf(saved.x, 0, [D, rows, I], [0, I, 1]), I)
  const dwHh = weightGradient(dgh, windowOf(saved.states, 0, [D, rows, H], [(T + 1) * B * H, H, 1]), H)
  const stackedGrads = hasBias ? [dwIh, dwHh, biasGradient(dgi), biasGradient(dgh)] : [dwIh, dwHh]
  let dx: Tensor | null = null
  if (needX) {
    dx = make([T, B, I])
    const out = windowOf(dx, 0, [rows, I], [I, 1])
    weights.forEach((w, d) => {
      backend.matmul(
        windowOf(dgi, d * rows * G * H, [rows, G * H], [G * H, 1]),
        w.weightIh.view(),
        out,
        d > 0,
      )
    })
  }
  const perDirection = stackedGrads.length
  return [
    dx,
    ...needStates.map((need, n) => (need ? carry.select(0, n) : null)),
    ...needParameters.map((need, i) =>
      need ? stackedGrads[i % perDirection].select(0, Math.floor(i / perDirection)) : null,
    ),
  ]
}
