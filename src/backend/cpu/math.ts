// Scalar functions that JavaScript lacks, to double precision.

/**
 * Error function: W. J. Cody, "Rational Chebyshev approximations for the error function",
 * Math. Comp. 23 (1969), coefficients of his CALERF. Relative error about 1e-16.
 */
export function erf(x: number): number {
  const y = Math.abs(x)
  if (y <= 0.46875) {
    const s = y * y
    return (
      (x *
        ((((0.18577770618460315 * s + 3.1611237438705655) * s + 113.86415415105016) * s + 377.485237685302) *
          s +
          3209.3775891384694)) /
      ((((s + 23.601290952344122) * s + 244.02463793444417) * s + 1282.6165260773723) * s + 2844.236833439171)
    )
  }
  if (y <= 4) {
    let p = 2.1531153547440383e-8 * y + 0.5641884969886701
    p = p * y + 8.883149794388377
    p = p * y + 66.11919063714163
    p = p * y + 298.6351381974001
    p = p * y + 881.952221241769
    p = p * y + 1712.0476126340707
    p = p * y + 2051.0783778260716
    p = p * y + 1230.3393547979972
    let q = y + 15.744926110709835
    q = q * y + 117.6939508913125
    q = q * y + 537.1811018620099
    q = q * y + 1621.3895745666903
    q = q * y + 3290.7992357334597
    q = q * y + 4362.619090143247
    q = q * y + 3439.3676741437216
    q = q * y + 1230.3393548037495
    const tail = (Math.exp(-y * y) * p) / q
    return x < 0 ? tail - 1 : 1 - tail
  }
  // erfc(4) is 1.5e-8 and the asymptotic series matters only up to 6; NaN comes out as NaN.
  if (y > 6) return x < 0 ? -1 : 1
  const s = 1 / (y * y)
  let p = 0.016315387137302097 * s + 0.30532663496123236
  p = p * s + 0.36034489994980445
  p = p * s + 0.12578172611122926
  p = p * s + 0.016083785148742275
  p = p * s + 0.0006587491615298378
  let q = s + 2.568520192289822
  q = q * s + 1.8729528499234604
  q = q * s + 0.5279051029514285
  q = q * s + 0.06051834131244132
  q = q * s + 0.0023352049762686918
  const tail = (Math.exp(-y * y) * (0.5641895835477563 - (s * p) / q)) / y
  return x < 0 ? tail - 1 : 1 - tail
}

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
