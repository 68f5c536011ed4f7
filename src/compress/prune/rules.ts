// What is known of each layer: how units enter and leave it, which slices belong to them, what its heads are, and how its
// sizes follow from its parameters. A layer of one's own is made known with `registerLayer`.

import { ShapeError } from '../../errors'
import { BertForMaskedLM, BertLayer } from '../../models/bert'
import { LlamaLayer } from '../../models/llama'
import { SoftAttention } from '../../models/soft-attention'
import { Embedding } from '../../nn/embedding'
import { GRU } from '../../nn/gru'
import { LayerNorm } from '../../nn/layer-norm'
import { Linear } from '../../nn/linear'
import { LSTM } from '../../nn/lstm'
import type { Module } from '../../nn/module'
import { MultiheadAttention } from '../../nn/multihead-attention'
import { originalOf } from '../../nn/parametrize'
import type { RecurrentLayer } from '../../nn/recurrent-layer'
import { RMSNorm } from '../../nn/rms-norm'
import { RNN } from '../../nn/rnn'
import { Tensor } from '../../tensor/tensor'
import type { Cut } from './cuts'
import type { Tracer } from './trace'

/** Heads of an attention layer. */
export interface Heads {
  readonly count: number
  /** The slices that belong to a head. */
  cuts(head: number): Cut[]
}

/** What pruning needs to know of a kind of layer. */
export interface LayerRule<M extends Module = Module> {
  /**
   * Stands in for `forward` while dependencies are traced: tells the tracer what enters, and returns what it emits. Left out
   * where `forward` itself may run: where units pass through one by one, or only into other layers.
   */
  trace?(layer: M, args: Parameters<M['forward']>, tracer: Tracer): ReturnType<M['forward']>
  /** For layers with attention heads. */
  heads?(layer: M): Heads
  /** Sets the sizes that the layer keeps as numbers, from its parameters' shapes. */
  fit?(layer: M): void
  /** Names of further numbers that removal may change, for files. */
  readonly fields?: readonly (keyof M & string)[]
}

type Constructor<M extends Module> = abstract new (...args: never[]) => M

const rules = new Map<Constructor<Module>, LayerRule<never>>()

/** Makes a kind of layer known to pruning, or tells another rule of it. Subclasses follow it too. */
export function registerLayer<M extends Module>(type: Constructor<M>, rule: LayerRule<M>): void {
  rules.set(type as Constructor<Module>, rule)
}

/** The rule of a layer's class or of the nearest class above it. */
export function ruleOf(layer: Module): LayerRule | null {
  for (
    let type: unknown = layer.constructor;
    typeof type === 'function';
    type = Object.getPrototypeOf(type)
  ) {
    const rule = rules.get(type as Constructor<Module>) ?? library().get(type as Constructor<Module>)
    if (rule) return rule as LayerRule<Module>
  }
  return null
}

/** Lets every layer of a model take its sizes from its parameters. */
export function fitLayers(model: Module): void {
  for (const layer of model.modules()) ruleOf(layer)?.fit?.(layer)
}

function shapeOf(layer: Module, property: string): readonly number[] {
  const parameter = originalOf(layer, property)
  if (!parameter) throw new ShapeError(`${layer.constructor.name} has no parameter ${property}`)
  return parameter.shape
}

/** Cuts at `index` along `axis` of those of the named parameters that a layer has. */
export function cutsOf(layer: Module, properties: readonly string[], axis: number, index: number): Cut[] {
  return properties.flatMap((property) => {
    const parameter = originalOf(layer, property)
    return parameter ? [{ parameter, axis, index }] : []
  })
}

function same(layer: Module, sizes: Readonly<Record<string, number>>): void {
  if (new Set(Object.values(sizes)).size <= 1) return
  const found = Object.entries(sizes).map(([name, n]) => `${name} ${n}`)
  throw new ShapeError(`${layer.constructor.name}: its parameters do not fit each other: ${found.join(', ')}`)
}

const linearRule: LayerRule<Linear> = {
  trace(layer, [x], tracer) {
    tracer.enter(layer, x, (j) => cutsOf(layer, ['weight'], 1, j))
    const port = {
      name: '',
      units: layer.outFeatures,
      cuts: (u: number) => cutsOf(layer, ['weight', 'bias'], 0, u),
    }
    return tracer.emit(layer, [...x.shape.slice(0, -1), layer.outFeatures], [port])
  },
  fit(layer) {
    const [outFeatures, inFeatures] = shapeOf(layer, 'weight')
    if (layer.bias) same(layer, { weight: outFeatures, bias: layer.bias.shape[0] })
    Object.assign(layer, { outFeatures, inFeatures })
  },
}

const embeddingRule: LayerRule<Embedding> = {
  trace(layer, [ids], tracer) {
    const units = layer.embeddingDim
    const port = { name: '', units, cuts: (u: number) => cutsOf(layer, ['weight'], 1, u) }
    return tracer.emit(layer, [...ids.shape, units], [port])
  },
  fit(layer) {
    const [numEmbeddings, embeddingDim] = shapeOf(layer, 'weight')
    Object.assign(layer, { numEmbeddings, embeddingDim })
  },
  fields: ['paddingIdx'],
}

const normRule: LayerRule<LayerNorm | RMSNorm> = {
  trace(layer, [x], tracer) {
    tracer.refuse(layer, x, 'normalizes over all of them')
    return tracer.emit(layer, x.shape, [])
  },
}

/** Layers and directions of a recurrent layer, in the order of its states. */
function slotsOfRecurrent(layer: RecurrentLayer): { suffix: string; level: number; direction: number }[] {
  const ends = layer.bidirectional ? ['', 'Reverse'] : ['']
  return Array.from({ length: layer.numLayers }, (_, level) =>
    ends.map((end, direction) => ({ suffix: `L${level}${end}`, level, direction })),
  ).flat()
}

const recurrentRule: LayerRule<GRU | LSTM | RNN> = {
  trace(layer, [x, first], tracer) {
    const slots = slotsOfRecurrent(layer)
    const H = layer.hiddenSize
    const gates = shapeOf(layer, 'weightHhL0')[0] / H
    const ofLevel = (level: number) => slots.filter((s) => s.level === level)
    const ports = slots.map(({ suffix, level, direction }) => ({
      name: suffix,
      units: H,
      cuts: (u: number) => [
        ...Array.from({ length: gates }, (_, g) =>
          cutsOf(
            layer,
            [`weightIh${suffix}`, `weightHh${suffix}`, `biasIh${suffix}`, `biasHh${suffix}`],
            0,
            g * H + u,
          ),
        ).flat(),
        ...cutsOf(layer, [`weightHh${suffix}`], 1, u),
        ...ofLevel(level + 1).flatMap((s) => cutsOf(layer, [`weightIh${s.suffix}`], 1, direction * H + u)),
      ],
    }))
    tracer.enter(layer, x, (j) =>
      ofLevel(0).flatMap(({ suffix }) => cutsOf(layer, [`weightIh${suffix}`], 1, j)),
    )
    const states = (first instanceof Tensor ? [first] : (first ?? [])) as readonly Tensor[]
    // A first state is tied to the unit that it starts.
    for (const state of states) {
      ports.forEach((port, i) => {
        tracer.enter(layer, state.select(0, i), port.cuts)
      })
    }
    const [a, b] = x.shape
    const last = ports.slice(-ofLevel(0).length)
    const output = tracer.emit(layer, [a, b, last.length * H], last)
    const batch = layer.batchFirst ? a : b
    const hidden = tracer.stack(ports.map((port) => tracer.emit(layer, [batch, H], [port])))
    const state = layer instanceof LSTM ? [hidden, hidden.alias()] : hidden
    return [output, state] as ReturnType<LSTM['forward']> & ReturnType<GRU['forward']>
  },
  fit(layer) {
    const slots = slotsOfRecurrent(layer)
    const hidden = Object.fromEntries(
      slots.map(({ suffix }) => [suffix, shapeOf(layer, `weightHh${suffix}`)[1]]),
    )
    same(layer, hidden)
    Object.assign(layer, { hiddenSize: hidden.L0, inputSize: shapeOf(layer, 'weightIhL0')[1] })
  },
}

/** Rows h d … h d + d - 1 of each projection, columns of the output's. */
function headCuts(
  head: number,
  width: number,
  rows: (i: number) => Cut[],
  columns: (i: number) => Cut[],
): Cut[] {
  return Array.from({ length: width }, (_, k) => head * width + k).flatMap((i) => [...rows(i), ...columns(i)])
}

const attentionRule: LayerRule<MultiheadAttention> = {
  trace(layer, [query, key = query, value = key, { needWeights = true } = {}], tracer) {
    for (const x of [query, key, value]) tracer.refuse(layer, x, 'is as wide as its input')
    const [T, B] = layer.batchFirst ? [query.shape[1], query.shape[0]] : query.shape
    const S = key.shape[layer.batchFirst ? 1 : 0]
    return [tracer.emit(layer, query.shape, []), needWeights ? tracer.emit(layer, [B, T, S], []) : null]
  },
  heads(layer) {
    const { headDim: d, numHeads: count } = layer
    const inner = count * d
    const parts = [0, inner, 2 * inner]
    const rows = (i: number): Cut[] => [
      ...parts.flatMap((start) => cutsOf(layer, ['inProjWeight', 'inProjBias'], 0, start + i)),
      ...cutsOf(layer, ['qProjWeight', 'kProjWeight', 'vProjWeight'], 0, i),
    ]
    return { count, cuts: (head) => headCuts(head, d, rows, (i) => cutsOf(layer.outProj, ['weight'], 1, i)) }
  },
  fit(layer) {
    Object.assign(layer, { numHeads: shapeOf(layer.outProj, 'weight')[1] / layer.headDim })
  },
}

const bertRule: LayerRule<BertLayer> = {
  heads(layer) {
    const d = layer.headDim
    const rows = (i: number): Cut[] =>
      [layer.query, layer.key, layer.value].flatMap((part) => cutsOf(part, ['weight', 'bias'], 0, i))
    return {
      count: layer.query.outFeatures / d,
      cuts: (head) => headCuts(head, d, rows, (i) => cutsOf(layer.out, ['weight'], 1, i)),
    }
  },
}

/** A bias for each row of the embeddings. */
const maskedLmRule: LayerRule<BertForMaskedLM> = {
  fit(layer) {
    const table = layer.bert.embeddings.wordEmbeddings
    same(layer, { bias: shapeOf(layer, 'decoderBias')[0], rows: shapeOf(table, 'weight')[0] })
  },
}

/** A head here is one of keys and values, with all heads of queries that share it. */
const llamaRule: LayerRule<LlamaLayer> = {
  heads(layer) {
    const { headDim: d, numHeads, numKeyHeads: count } = layer
    const shared = numHeads / count
    return {
      count,
      cuts: (head) => [
        ...headCuts(
          head,
          d,
          (i) => [layer.wk, layer.wv].flatMap((part) => cutsOf(part, ['weight'], 0, i)),
          () => [],
        ),
        ...headCuts(
          head,
          d * shared,
          (i) => cutsOf(layer.wq, ['weight'], 0, i),
          (i) => cutsOf(layer.wo, ['weight'], 1, i),
        ),
      ],
    }
  },
}

const softAttentionRule: LayerRule<SoftAttention> = {
  trace(layer, [inputs, hidden], tracer) {
    const size = layer.W.inFeatures / 2
    const cuts = (j: number): Cut[] => [j, size + j].flatMap((i) => cutsOf(layer.W, ['weight'], 1, i))
    tracer.enter(layer, inputs, cuts)
    tracer.enter(layer, hidden.select(0, hidden.shape[0] - 1), cuts)
    return [inputs.alias(), tracer.emit(layer, [...inputs.shape.slice(0, 2), 1], [])]
  },
}

let known: Map<Constructor<Module>, LayerRule<never>> | null = null

/** The library's own layers. Made when first asked for, so that a bundle without pruning carries none of it. */
function library(): Map<Constructor<Module>, LayerRule<never>> {
  known ??= new Map<Constructor<Module>, LayerRule<never>>([
    [Linear as Constructor<Module>, linearRule as LayerRule<never>],
    [Embedding, embeddingRule],
    [LayerNorm, normRule],
    [RMSNorm, normRule],
    [GRU, recurrentRule],
    [LSTM, recurrentRule],
    [RNN, recurrentRule],
    [MultiheadAttention, attentionRule],
    [BertLayer, bertRule],
    [BertForMaskedLM, maskedLmRule],
    [LlamaLayer, llamaRule],
    [SoftAttention, softAttentionRule],
  ] as [Constructor<Module>, LayerRule<never>][])
  return known
}

/** A parameter that a layer owns itself. */
export function ownsParameters(layer: Module): boolean {
  return layer.namedParameters().some(([name]) => !name.includes('.'))
}
