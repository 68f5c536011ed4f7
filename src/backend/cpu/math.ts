// Small scalar functions that JavaScript lacks.

/** To the nearest integer, halves to even; keeps -0. */
export function roundHalfEven(x: number): number {
  // Adding 2^52 leaves no fraction bits, and the addition itself rounds half to even.
  if (x > 0) return x < 4503599627370496 ? x + 4503599627370496 - 4503599627370496 : x
  if (x < 0) return x > -4503599627370496 ? -(4503599627370496 - x - 4503599627370496) : x
  return x
}

/** Remainder with the sign of the divisor, as PyTorch's `remainder`. NaN for a zero divisor. */
export function floorMod(a: number, b: number): number {
  const r = a % b
  return r !== 0 && r < 0 !== b < 0 ? r + b : r
}

/** Power as in IEEE 754 and PyTorch: 1 to any power and (-1) to an infinite one are 1, where JavaScript says NaN. */
export function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && (b === Infinity || b === -Infinity))) return 1
  return a ** b
}
