// Random fills: see shaders/random.wgsl.

import template from '../../../shaders/random.wgsl'
import { count } from '../collapse'
import type { ScalarType } from '../expr'
import type { RandomKind, View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { word } from './params'
import { store } from './wgsl-program'

const TYPE: Record<RandomKind['kind'], ScalarType> = {
  uniform: 'float',
  normal: 'float',
  int: 'int',
  bernoulli: 'bool',
}

/** See `Backend.random`. */
export function random(engine: Engine, kind: RandomKind, seed: number, stream: number, output: View): void {
  const bindings = new Bindings()
  const target = bindings.add(output, true)
  engine.run({
    op: 'random',
    key: kind.kind,
    template,
    bindings,
    count: count(output.shape),
    extra: output.offset,
    values: () => ({
      UNIFORM: kind.kind === 'uniform',
      NORMAL: kind.kind === 'normal',
      INT: kind.kind === 'int',
      BERNOULLI: kind.kind === 'bernoulli',
      STORE: `  ${store(target, `${word(3)} + i`, output.dtype, 'value', TYPE[kind.kind])}`,
    }),
    fill: (params) => {
      const [low, range] = kind.kind === 'int' ? [kind.low, kind.high - kind.low] : [0, 0]
      params.int(seed, stream, low, range)
      params.float(kind.kind === 'bernoulli' ? kind.p : 0).int(0, 0, 0)
    },
  })
}
