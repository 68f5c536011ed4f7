// What every kernel shares: the calling convention, flattening of the two dispatch axes, and float functions that keep
// NaN and infinity and stay accurate near zero, where drivers' built-ins need not.
//
// Binding 0: 256 words per dispatch. Word 0: elements to handle; 1: the bits of NaN; 2: the bits of infinity (WGSL has
// no literals for them); from 3: whatever the kernel documents.

@group(0) @binding(0) var<uniform> u: array<vec4<i32>, 64>;

fn word(i: i32) -> i32 { return u[i >> 2][i & 3]; }
fn nan() -> f32 { return bitcast<f32>(u[0].y); }
fn inf() -> f32 { return bitcast<f32>(u[0].z); }

fn linear(group: vec3<u32>, groups: vec3<u32>, local: u32, size: u32) -> i32 {
  return i32((group.y * groups.x + group.x) * size + local);
}

// On the bits, because compilers may assume that floats are finite.
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn max_(a: f32, b: f32) -> f32 { return select(select(b, a, a > b), nan(), is_nan(a) || is_nan(b)); }
fn min_(a: f32, b: f32) -> f32 { return select(select(b, a, a < b), nan(), is_nan(a) || is_nan(b)); }
fn sign_(x: f32) -> f32 { return select(sign(x), x, is_nan(x)); }

// Horner up to the point where exp(x) - 1 loses nothing.
fn expm1_(x: f32) -> f32 {
  if (abs(x) < 0.4) {
    return x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * (0.0013888889 + x * 0.0001984127))))));
  }
  return exp(x) - 1.0;
}

// log(1 + x) = 2 artanh(x / (2 + x)).
fn log1p_(x: f32) -> f32 {
  if (abs(x) < 0.4) {
    let s = x / (2.0 + x);
    let q = s * s;
    return 2.0 * s * (1.0 + q * (0.33333334 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * 0.09090909)))));
  }
  return log(1.0 + x);
}

fn tanh_(x: f32) -> f32 {
  let a = min(abs(x), 10.0);
  let e = expm1_(2.0 * a);
  return select(select(-1.0, 1.0, x >= 0.0) * (e / (e + 2.0)), x, is_nan(x));
}

fn sigmoid_(x: f32) -> f32 {
  let e = exp(-min(abs(x), 90.0));
  return select(select(e, 1.0, x >= 0.0) / (1.0 + e), x, is_nan(x));
}

// Taylor below 1; above, Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
fn erf_(x: f32) -> f32 {
  let a = abs(x);
  let q = x * x;
  if (a < 1.0) {
    let s = 1.0 + q * (-0.33333334 + q * (0.1 + q * (-0.023809524 + q * (0.0046296297 + q * (-0.00075757576
      + q * (0.00010683761 + q * (-0.000013227513 + q * (0.0000014589169 + q * -0.00000014503853))))))));
    return 1.1283791 * x * s;
  }
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.2548296 + t * (-0.28449672 + t * (1.4214138 + t * (-1.4531521 + t * 1.0614054))));
  let y = 1.0 - p * exp(-min(q, 90.0));
  return select(select(-y, y, x > 0.0), x, is_nan(x));
}

fn pow_(a: f32, b: f32) -> f32 {
  if (b == 0.0) { return 1.0; }
  if (is_nan(a) || is_nan(b)) { return nan(); }
  if (a == 1.0) { return 1.0; }
  if (b == 1.0) { return a; }
  if (b == 2.0) { return a * a; }
  if (abs(a) == inf() || abs(b) == inf()) {
    let grows = (abs(a) > 1.0) == (b > 0.0);
    if (abs(a) == 1.0) { return 1.0; }
    if (!grows) { return 0.0; }
    return select(inf(), -inf(), a < 0.0 && floor(b) == b && abs(b) < 16777216.0 && abs(floor(b * 0.5) * 2.0 - b) == 1.0);
  }
  let whole = floor(b) == b;
  let odd = whole && abs(floor(b * 0.5) * 2.0 - b) == 1.0;
  if (a == 0.0) { return select(inf(), 0.0, b > 0.0); }
  if (a < 0.0 && !whole) { return nan(); }
  let y = exp2(b * log2(abs(a)));
  return select(y, -y, a < 0.0 && odd);
}

fn sqrt_(x: f32) -> f32 { return select(select(sqrt(x), nan(), x < 0.0), x, is_nan(x)); }
fn log_(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return nan(); }
  return select(select(log(x), -inf(), x == 0.0), x, x == inf());
}
fn exp_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  return select(select(exp(x), inf(), x > 88.8), 0.0, x < -104.0);
}

fn mod_(a: f32, b: f32) -> f32 {
  let r = a - b * trunc(a / b);
  return select(r, r + b, r != 0.0 && ((r < 0.0) != (b < 0.0)));
}
fn imod_(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  let r = a % b;
  return select(r, r + b, r != 0 && ((r < 0) != (b < 0)));
}
// Truncates; out of range and NaN give 0, as on the cpu.
fn to_int(x: f32) -> i32 {
  if (is_nan(x) || abs(x) >= 2147483648.0) { return 0; }
  return i32(x);
}
