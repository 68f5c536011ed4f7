// Typed scalar expressions: the one definition of every elementwise op.
//
// An `Expr` is an immutable node built with the methods below. From one expression come the cpu kernel
// (a block interpreter), the WGSL kernel, the derivative (`differentiate` in derivative.ts) and the gradient-check case.
// The kinds are few on purpose; everything else (gelu, softplus, silu …) is composed of them.

/** The scalar types inside an expression; float32 and float64 are both `float`. */
export type ScalarType = 'float' | 'int' | 'bool'

export type UnaryKind =
  | 'neg'
  | 'abs'
  | 'sign'
  | 'exp'
  | 'log'
  | 'log1p'
  | 'expm1'
  | 'sqrt'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  | 'floor'
  | 'ceil'
  | 'round'
  | 'single'
  | 'isNaN'
  | 'not'
/** `mod` has the sign of the divisor (PyTorch's remainder); `max` and `min` propagate NaN. */
export type BinaryKind =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'pow'
  | 'mod'
  | 'max'
  | 'min'
  | 'eq'
  | 'lt'
  | 'le'
  | 'and'
  | 'or'
export type LeafKind = 'input' | 'scalar' | 'const'
/** `cast` converts to the node's type: to int truncates toward zero, to bool is `!= 0`. */
export type ExprKind = LeafKind | UnaryKind | BinaryKind | 'where' | 'cast'

/** An expression, or a number for a constant. */
export type ExprLike = Expr | number

/** A node of a scalar expression. Build leaves with `input`, `scalar` and `constant`. */
export class Expr {
  constructor(
    readonly kind: ExprKind,
    readonly type: ScalarType,
    readonly args: readonly Expr[] = [],
    /** Leaf data: index of the input or scalar, or the constant's value. */
    readonly value: number = 0,
  ) {}

  add(other: ExprLike): Expr {
    return arithmetic('add', this, other)
  }
  sub(other: ExprLike): Expr {
    return arithmetic('sub', this, other)
  }
  mul(other: ExprLike): Expr {
    return arithmetic('mul', this, other)
  }
  /** True division; integers give float. */
  div(other: ExprLike): Expr {
    return arithmetic('div', this.asFloat(), lift(other, 'float').asFloat())
  }
  pow(other: ExprLike): Expr {
    return arithmetic('pow', this.asFloat(), lift(other, 'float').asFloat())
  }
  mod(other: ExprLike): Expr {
    return arithmetic('mod', this, other)
  }
  max(other: ExprLike): Expr {
    return arithmetic('max', this, other)
  }
  min(other: ExprLike): Expr {
    return arithmetic('min', this, other)
  }

  eq(other: ExprLike): Expr {
    return comparison('eq', this, other)
  }
  ne(other: ExprLike): Expr {
    return this.eq(other).not()
  }
  lt(other: ExprLike): Expr {
    return comparison('lt', this, other)
  }
  le(other: ExprLike): Expr {
    return comparison('le', this, other)
  }
  gt(other: ExprLike): Expr {
    return comparison('lt', lift(other, this.type), this)
  }
  ge(other: ExprLike): Expr {
    return comparison('le', lift(other, this.type), this)
  }
  and(other: Expr): Expr {
    return new Expr('and', 'bool', [this.asBool(), other.asBool()])
  }
  or(other: Expr): Expr {
    return new Expr('or', 'bool', [this.asBool(), other.asBool()])
  }
  not(): Expr {
    return new Expr('not', 'bool', [this.asBool()])
  }
  isNaN(): Expr {
    return new Expr('isNaN', 'bool', [this.asFloat()])
  }
  /** Neither NaN nor infinite; said so that compilers which assume there are none cannot fold it away. */
  isFinite(): Expr {
    const x = this.asFloat()
    return x.isNaN().or(x.abs().eq(Number.POSITIVE_INFINITY)).not()
  }

  neg(): Expr {
    return this.numeric('neg')
  }
  abs(): Expr {
    return this.numeric('abs')
  }
  sign(): Expr {
    return this.numeric('sign')
  }
  exp(): Expr {
    return this.float('exp')
  }
  log(): Expr {
    return this.float('log')
  }
  log1p(): Expr {
    return this.float('log1p')
  }
  expm1(): Expr {
    return this.float('expm1')
  }
  sqrt(): Expr {
    return this.float('sqrt')
  }
  sin(): Expr {
    return this.float('sin')
  }
  cos(): Expr {
    return this.float('cos')
  }
  tanh(): Expr {
    return this.float('tanh')
  }
  sigmoid(): Expr {
    return this.float('sigmoid')
  }
  erf(): Expr {
    return this.float('erf')
  }
  /** Rounding leaves integers as they are. */
  floor(): Expr {
    return this.type === 'float' ? this.float('floor') : this
  }
  ceil(): Expr {
    return this.type === 'float' ? this.float('ceil') : this
  }
  /** To nearest, halves to even. */
  round(): Expr {
    return this.type === 'float' ? this.float('round') : this
  }

  /** The nearest float32: what a float32 expression has anyway, said where float64 has to follow it to the bit. */
  single(): Expr {
    return this.float('single')
  }

  /** `this ? a : b`. */
  where(a: ExprLike, b: ExprLike): Expr {
    const [x, y] = unify(a instanceof Expr ? a : lift(a, b instanceof Expr ? b.type : 'float'), b)
    return new Expr('where', x.type, [this.asBool(), x, y])
  }

  cast(type: ScalarType): Expr {
    return this.type === type ? this : new Expr('cast', type, [this])
  }
  asFloat(): Expr {
    return this.cast('float')
  }
  asBool(): Expr {
    return this.cast('bool')
  }

  private float(kind: UnaryKind): Expr {
    return new Expr(kind, 'float', [this.asFloat()])
  }
  private numeric(kind: UnaryKind): Expr {
    const x = this.type === 'bool' ? this.cast('int') : this
    return new Expr(kind, x.type, [x])
  }
}

/** The value of the i-th tensor operand at the current element. */
export function input(index: number, type: ScalarType = 'float'): Expr {
  return new Expr('input', type, [], index)
}
/** A number passed at call time; it is data, so that changing it compiles nothing. */
export function scalar(index: number, type: ScalarType = 'float'): Expr {
  return new Expr('scalar', type, [], index)
}
/** A number that is part of the expression itself. */
export function constant(value: number, type: ScalarType = 'float'): Expr {
  return new Expr('const', type, [], value)
}

function lift(x: ExprLike, type: ScalarType): Expr {
  if (x instanceof Expr) return x
  return constant(x, type === 'float' || !Number.isInteger(x) ? 'float' : 'int')
}

const RANK: Record<ScalarType, number> = { bool: 0, int: 1, float: 2 }

function unify(a: Expr, other: ExprLike): [Expr, Expr] {
  const b = lift(other, a.type)
  return RANK[a.type] >= RANK[b.type] ? [a, b.cast(a.type)] : [a.cast(b.type), b]
}

function isConst(e: Expr, value: number): boolean {
  return e.kind === 'const' && Object.is(e.value, value)
}

function arithmetic(kind: BinaryKind, left: Expr, right: ExprLike): Expr {
  let [a, b] = unify(left, right)
  if (a.type === 'bool') [a, b] = [a.cast('int'), b.cast('int')]
  // Only rewrites that keep every bit, NaN and infinity (x + 0 would lose the sign of -0).
  if (kind === 'mul' && isConst(b, 1)) return a
  if (kind === 'mul' && isConst(a, 1)) return b
  if (kind === 'div' && isConst(b, 1)) return a
  return new Expr(kind, a.type, [a, b])
}

function comparison(kind: BinaryKind, left: Expr, right: ExprLike): Expr {
  return new Expr(kind, 'bool', unify(left, right))
}

/** Every node reachable from the roots, arguments before users. Iterative: expressions may be deep. */
export function topological(roots: readonly Expr[]): Expr[] {
  const order: Expr[] = []
  const seen = new Set<Expr>()
  const stack: [Expr, number][] = roots.map((r): [Expr, number] => [r, 0]).reverse()
  while (stack.length > 0) {
    const top = stack[stack.length - 1]
    const [node, next] = top
    if (next === 0 && seen.has(node)) {
      stack.pop()
      continue
    }
    seen.add(node)
    if (next < node.args.length) {
      top[1]++
      const arg = node.args[next]
      if (!seen.has(arg)) stack.push([arg, 0])
    } else {
      stack.pop()
      order.push(node)
    }
  }
  return order
}
