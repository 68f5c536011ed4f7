// Modules that hold modules: Sequential runs them in order, ModuleList only names them.

import { ArgumentError } from '../errors'
import type { Tensor } from '../tensor/tensor'
import { type Layer, Module } from './module'

/** torch.nn.Sequential: each layer's output is the next one's input. Keys `0.weight`, `1.weight`, … */
export class Sequential extends Module {
  static override readonly keys = { layers: '' }
  readonly layers: Layer[]

  constructor(...layers: Layer[]) {
    super()
    checkModules('Sequential', layers)
    this.layers = layers
  }

  forward(input: Tensor): Tensor {
    return this.layers.reduce((x, layer) => layer.forward(x), input)
  }

  get length(): number {
    return this.layers.length
  }

  [Symbol.iterator](): Iterator<Layer> {
    return this.layers[Symbol.iterator]()
  }
}

/** torch.nn.ModuleList: modules whose use is up to their owner. Keys `0.weight`, `1.weight`, … */
export class ModuleList<M extends Module = Module> extends Module {
  static override readonly keys = { list: '' }
  readonly list: M[]

  constructor(modules: Iterable<M> = []) {
    super()
    this.list = [...modules]
    checkModules('ModuleList', this.list)
  }

  /** Not callable: a list says nothing about how its modules are used. */
  forward(): never {
    throw new ArgumentError('ModuleList has no forward; call the modules in it, or use Sequential')
  }

  /** Adds a module at the end. Returns the list. */
  append(module: M): this {
    checkModules('ModuleList', [module])
    this.list.push(module)
    return this
  }

  /** The module at `index`; negative ones count from the end. */
  at(index: number): M {
    const found = this.list.at(index)
    if (!found)
      throw new ArgumentError(`ModuleList: index ${index} is out of range for ${this.list.length} modules`)
    return found
  }

  get length(): number {
    return this.list.length
  }

  [Symbol.iterator](): Iterator<M> {
    return this.list[Symbol.iterator]()
  }
}

function checkModules(owner: string, modules: readonly unknown[]): void {
  modules.forEach((module, i) => {
    if (!(module instanceof Module))
      throw new ArgumentError(`${owner}: item ${i} is a ${typeof module}; expected a Module`)
  })
}
