// A small WebAssembly emitter: functions with locals, blocks and loops, put together to a module of bytes.
//
// Kernels are written as TypeScript that calls these methods, so that tile sizes, unrolling and variants are
// ordinary loops and parameters. Every module imports one memory, the heap of the cpu device ('env', 'memory'), and
// exports its functions. Format: https://webassembly.github.io/spec/core/binary/modules.html

import { Code, f32x4, i32, type I32, type Statement, unsigned, type V128, type ValueType } from './code'

const TYPE_BYTE: Record<ValueType, number> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b }
const NO_RESULT = 0x40

/** A variable of a function. As an expression it reads itself. */
export class Local<T extends ValueType = ValueType> extends Code<T> {
  constructor(
    type: T,
    readonly index: number,
  ) {
    super(type, [0x20, ...unsigned(index)])
  }
}

/** The parameters of a function, by name; all are int32 (addresses, sizes, flags). */
export type Parameters<N extends string> = { readonly [K in N]: Local<'i32'> }

/** Jumps to the place that a block or loop stands for; with a condition, only where it is not 0. */
export type Branch = (condition?: I32) => void

/** What a module has to know of the machine and the memory it is written for. */
export interface Target {
  /** Relaxed SIMD's fused multiply-add may be used. */
  readonly fma: boolean
  /** The memory is a shared one; its import has to say so. */
  readonly shared: boolean
}

/** The body of a function under construction. */
export class Body {
  readonly #target: Target
  readonly #types: ValueType[] = []
  readonly #parameters: number
  readonly #bytes: number[] = []
  #depth = 0

  constructor(parameters: number, target: Target) {
    this.#parameters = parameters
    this.#target = target
  }

  /** a * b + c in each lane: fused, which rounds once, or in two instructions. */
  madd(a: V128, b: V128, c: V128): V128 {
    return this.#target.fma ? f32x4.relaxedMadd(a, b, c) : f32x4.add(f32x4.mul(a, b), c)
  }

  /** A new variable; without an initial value it is 0 at the start of the function. */
  local<T extends ValueType>(type: T, initial?: Code<T>): Local<T> {
    const local = new Local(type, this.#parameters + this.#types.push(type) - 1)
    if (initial) this.set(local, initial)
    return local
  }

  set<T extends ValueType>(local: Local<T>, value: Code<T>): void {
    this.#bytes.push(...value.bytes, 0x21, ...unsigned(local.index))
  }

  /** Adds to an int32 variable. */
  step(local: Local<'i32'>, amount: I32): void {
    this.set(local, i32.add(local, amount))
  }

  run(statement: Statement): void {
    this.#bytes.push(...statement.bytes)
  }

  call(callee: Func, ...args: I32[]): void {
    for (const arg of args) this.#bytes.push(...asCode(arg).bytes)
    this.#bytes.push(0x10, ...unsigned(callee.index))
  }

  /** Code that `leave` jumps to the end of. */
  block(body: (leave: Branch) => void): void {
    this.#nest(0x02, body)
  }

  /** Code that `again` jumps to the start of. */
  loop(body: (again: Branch) => void): void {
    this.#nest(0x03, body)
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#bytes.push(...asCode(condition).bytes)
    this.#nest(0x04, () => {
      then()
      if (!otherwise) return
      this.#bytes.push(0x05)
      otherwise()
    })
  }

  /** Repeats while the condition, tested before each round, is not 0. */
  while(condition: Code<'i32'>, body: () => void): void {
    this.if(condition, () =>
      this.loop((again) => {
        body()
        again(condition)
      }),
    )
  }

  #nest(opcode: number, body: (branch: Branch) => void): void {
    this.#bytes.push(opcode, NO_RESULT)
    const depth = ++this.#depth
    body((condition) => {
      const label = unsigned(this.#depth - depth)
      if (condition === undefined) this.#bytes.push(0x0c, ...label)
      else this.#bytes.push(...asCode(condition).bytes, 0x0d, ...label)
    })
    this.#depth--
    this.#bytes.push(0x0b)
  }

  /** Length, declarations of the variables and the code, as the code section wants them. */
  encode(): number[] {
    const locals = this.#types.flatMap((type) => [1, TYPE_BYTE[type]])
    const code = [...unsigned(this.#types.length), ...locals, ...this.#bytes, 0x0b]
    return [...unsigned(code.length), ...code]
  }
}

/** A function of a module. */
export interface Func {
  readonly index: number
}

interface Definition extends Func {
  readonly parameters: number
  readonly body: number[]
  readonly exported: string | null
}

const asCode = (x: I32): Code<'i32'> => (typeof x === 'number' ? i32.const(x) : x)

/** A module under construction. */
export class Module {
  readonly #functions: Definition[] = []
  readonly #target: Target

  constructor(target: Target) {
    this.#target = target
  }

  /** Defines a function that the module exports under `name`. */
  export<N extends string>(
    name: string,
    parameters: readonly N[],
    write: (body: Body, parameters: Parameters<N>) => void,
  ): Func {
    return this.#define(parameters, write, name)
  }

  /** Defines a function for the use of later ones. */
  func<N extends string>(
    parameters: readonly N[],
    write: (body: Body, parameters: Parameters<N>) => void,
  ): Func {
    return this.#define(parameters, write, null)
  }

  #define<N extends string>(
    names: readonly N[],
    write: (body: Body, parameters: Parameters<N>) => void,
    exported: string | null,
  ): Func {
    const body = new Body(names.length, this.#target)
    const locals = Object.fromEntries(names.map((name, i) => [name, new Local('i32', i)]))
    write(body, locals as Parameters<N>)
    const definition = {
      index: this.#functions.length,
      parameters: names.length,
      body: body.encode(),
      exported,
    }
    this.#functions.push(definition)
    return definition
  }

  /** The module, ready for `new WebAssembly.Module`. */
  bytes(): Uint8Array<ArrayBuffer> {
    const functions = this.#functions
    // The memory may be of any size up to 4 GiB; a shared one has to be imported with a maximum.
    const limits = this.#target.shared ? [3, 0, ...unsigned(65_536)] : [0, 0]
    const types = functions.map((f) => [
      0x60,
      f.parameters,
      ...new Array(f.parameters).fill(TYPE_BYTE.i32),
      0,
    ])
    const exported = functions.filter((f) => f.exported !== null)
    return new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d],
      ...[1, 0, 0, 0],
      ...section(1, types),
      ...section(2, [[...name('env'), ...name('memory'), 2, ...limits]]),
      ...section(
        3,
        functions.map((f) => unsigned(f.index)),
      ),
      ...section(
        7,
        exported.map((f) => [...name(f.exported as string), 0, ...unsigned(f.index)]),
      ),
      ...section(
        10,
        functions.map((f) => f.body),
      ),
    ])
  }
}

function section(id: number, items: readonly (readonly number[])[]): number[] {
  const content = [...unsigned(items.length), ...items.flat()]
  return [id, ...unsigned(content.length), ...content]
}

function name(text: string): number[] {
  return [...unsigned(text.length), ...new TextEncoder().encode(text)]
}
