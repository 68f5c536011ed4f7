// A fast-check arbitrary of small networks, for properties that should hold of any module: that saving and loading
// change nothing, that gradients are right, that eval is repeatable.

import fc from 'fast-check'
import type { DeviceName } from '../backend/types'
import { GELU, LayerNorm, Linear, type Layer, Sequential, Sigmoid, SiLU, Softplus, Tanh } from '../nn'
import { getRandomState, manualSeed, setRandomState } from '../tensor/random-state'

export interface ModuleArbitraryOptions {
  /** Most layers. Default 4. */
  maxLayers?: number
  /** Most features between layers. Default 5. */
  maxFeatures?: number
  /** Default float32. */
  dtype?: 'float32' | 'float64'
  device?: DeviceName
}

export interface ArbitraryModule {
  readonly module: Sequential
  /** Size of the last axis it takes, and of the one it gives. */
  readonly inFeatures: number
  readonly outFeatures: number
}

const SMOOTH = [GELU, SiLU, Sigmoid, Softplus, Tanh]

/**
 * Sequentials of Linear, LayerNorm and smooth activations on tensors `[..., inFeatures]`. Parameters come from a seed of
 * fast-check's, so that a counterexample can be repeated; the library's own random source is left as it was.
 */
export function modules({
  maxLayers = 4,
  maxFeatures = 5,
  dtype = 'float32',
  device,
}: ModuleArbitraryOptions = {}): fc.Arbitrary<ArbitraryModule> {
  const features = fc.integer({ min: 1, max: maxFeatures })
  const layer = fc.oneof(
    fc.record({ kind: fc.constant('linear' as const), features, bias: fc.boolean() }),
    fc.record({ kind: fc.constant('norm' as const) }),
    fc.record({
      kind: fc.constant('activation' as const),
      which: fc.integer({ min: 0, max: SMOOTH.length - 1 }),
    }),
  )
  return fc
    .record({
      inFeatures: features,
      seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      layers: fc.array(layer, { minLength: 1, maxLength: maxLayers }),
    })
    .map(({ inFeatures, seed, layers }) => {
      const state = getRandomState()
      manualSeed(seed)
      try {
        let width = inFeatures
        const built = layers.map((plan): Layer => {
          if (plan.kind === 'activation') return new SMOOTH[plan.which]()
          if (plan.kind === 'norm') return new LayerNorm(width, { dtype, device })
          const linear = new Linear(width, plan.features, { bias: plan.bias, dtype, device })
          width = plan.features
          return linear
        })
        return { module: new Sequential(...built), inFeatures, outFeatures: width }
      } finally {
        setRandomState(state)
      }
    })
}
