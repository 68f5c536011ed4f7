// Shared functions. The template step (src/backend/webgpu/template.ts) copies into a kernel those that it calls.
//
// Every kernel declares `params`, an array of vec4<u32> whose word 2 is always 0: or-ed into a bit pattern it makes
// NaN and infinity that no compiler can see through (WGSL refuses them as constants, and fast math may assume
// that they never occur). NaN is recognised by its bits, for the same reason.
//
// exp, log, tanh, erf, sin and cos are the single-precision routines of S. L. Moshier's Cephes library, so that they are
// as accurate on every device (WGSL allows sin an error of 2^-11) and at the edges what IEEE 754 says.

fn ef_bits(bits: u32) -> f32 { return bitcast<f32>(bits | params[0].z); }
fn ef_nan() -> f32 { return ef_bits(0x7fc00000u); }
fn ef_inf() -> f32 { return ef_bits(0x7f800000u); }
fn ef_is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn ef_is_inf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }

// Flat index of an invocation: workgroups are spread over two dimensions, since one holds 65,535 of them.
fn ef_flat(group: vec3<u32>, lane: u32, size: u32) -> u32 { return (group.y * params[0].y + group.x) * size + lane; }

fn ef_eq(a: f32, b: f32) -> bool { return a == b && !ef_is_nan(a) && !ef_is_nan(b); }
fn ef_lt(a: f32, b: f32) -> bool { return a < b && !ef_is_nan(a) && !ef_is_nan(b); }
fn ef_le(a: f32, b: f32) -> bool { return a <= b && !ef_is_nan(a) && !ef_is_nan(b); }
fn ef_max(a: f32, b: f32) -> f32 { return select(select(max(a, b), b, ef_is_nan(b)), a, ef_is_nan(a)); }
fn ef_min(a: f32, b: f32) -> f32 { return select(select(min(a, b), b, ef_is_nan(b)), a, ef_is_nan(a)); }
fn ef_sign(x: f32) -> f32 { return select(sign(x), x, x == 0.0 || ef_is_nan(x)); }

// An integer that sorts as x does, up or down: made from the bits, so that denormal numbers are told apart on every adapter;
// NaN comes last in either direction, and -0 equals 0.
fn ef_order(x: f32, descending: bool) -> i32 {
  let bits = bitcast<i32>(x);
  let magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) { return 0x7fffffff; }
  return select(magnitude, -magnitude, (bits < 0) != descending);
}

// Truncates toward zero; NaN and infinities give 0, values beyond int32 wrap, as in JavaScript's `| 0`.
fn ef_to_int(x: f32) -> i32 {
  if (abs(x) < 2147483648.0) { return i32(x); }
  let bits = bitcast<u32>(x);
  let exponent = (bits >> 23u) & 255u;
  if (exponent == 255u || exponent >= 182u) { return 0; }
  let magnitude = bitcast<i32>(((bits & 0x7fffffu) | 0x800000u) << (exponent - 150u));
  return select(magnitude, -magnitude, (bits >> 31u) == 1u);
}

fn ef_sqrt(x: f32) -> f32 { return select(sqrt(x), ef_nan(), x < 0.0); }

// exp(r) = 1 + r + r^2 * ef_exp_tail(r) for |r| <= ln(2) / 2.
fn ef_exp_tail(r: f32) -> f32 {
  return ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r
    + 1.6666665459e-1) * r + 5.0000001201e-1;
}

// 2^k for whole k from -126 to 127: the sum's lowest bits are k + 127. A conversion to an integer costs several times that.
fn ef_power_of_two(k: f32) -> f32 { return bitcast<f32>(bitcast<u32>(k + 12583039.0) << 23u); }

// Without branches and clamping, which software adapters pay for; hardware computes both sides of most branches anyway.
fn ef_exp(x: f32) -> f32 {
  let z = floor(x * 1.44269504088896341 + 0.5);
  let r = (x - z * 0.693359375) + z * 2.12194440e-4;
  let y = ef_exp_tail(r) * r * r + r + 1.0;
  // 2^z in two factors, each of them a normal number.
  let half = floor(z * 0.5);
  let e = y * ef_power_of_two(half) * ef_power_of_two(z - half);
  return select(select(select(e, 0.0, x < -104.0), ef_inf(), x > 88.72284), x, ef_is_nan(x));
}

fn ef_expm1(x: f32) -> f32 {
  if (x == 0.0) { return x; }
  if (abs(x) < 0.34) { return ef_exp_tail(x) * x * x + x; }
  return ef_exp(x) - 1.0;
}

// log(1 + x) = x - x^2 / 2 + ef_log_tail(x) for sqrt(1/2) <= 1 + x <= sqrt(2).
fn ef_log_tail(x: f32) -> f32 {
  return ((((((((7.0376836292e-2 * x - 1.1514610310e-1) * x + 1.1676998740e-1) * x - 1.2420140846e-1) * x
    + 1.4249322787e-1) * x - 1.6668057665e-1) * x + 2.0000714765e-1) * x - 2.4999993993e-1) * x
    + 3.3333331174e-1) * x * x * x;
}

// A positive, finite x as (1 + y) * 2^e with 1 + y between sqrt(1/2) and sqrt(2): e, y and log(1 + y) - y.
fn ef_log_parts(x: f32) -> vec3<f32> {
  var bits = bitcast<u32>(x);
  var e = -126;
  if (bits < 0x00800000u) {
    bits = bitcast<u32>(f32(bits));
    e -= 149;
  }
  e += i32(bits >> 23u);
  var m = bitcast<f32>((bits & 0x7fffffu) | 0x3f000000u);
  if (m < 0.70710678) {
    e -= 1;
    m = m + m;
  }
  let y = m - 1.0;
  return vec3<f32>(f32(e), y, ef_log_tail(y) - 0.5 * y * y);
}

fn ef_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) == 0u) { return -ef_inf(); }
  if (bits > 0x80000000u || ef_is_nan(x)) { return ef_nan(); }
  if (bits == 0x7f800000u) { return x; }
  let parts = ef_log_parts(x);
  return parts.x * 0.693359375 + (parts.y + (parts.z - parts.x * 2.12194440e-4));
}

fn ef_log1p(x: f32) -> f32 {
  if (x == 0.0) { return x; }
  if (x > -0.29 && x < 0.41) { return x - (0.5 * x * x - ef_log_tail(x)); }
  return ef_log(1.0 + x);
}

fn ef_tanh(x: f32) -> f32 {
  let a = abs(x);
  let z = x * x;
  let near = ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z
    - 3.33332819422e-1) * z * x + x;
  let t = 1.0 - 2.0 / (ef_exp(2.0 * min(a, 20.0)) + 1.0);
  let far = select(t, -t, x < 0.0);
  return select(select(far, near, a < 0.625), x, x == 0.0 || ef_is_nan(x));
}

fn ef_sigmoid(x: f32) -> f32 {
  let e = ef_exp(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}

fn ef_erf(x: f32) -> f32 {
  let a = abs(x);
  if (a < 1.0) {
    let z = x * x;
    return x * ((((((7.853861353153693e-5 * z - 8.010193625184903e-4) * z + 5.188327685732524e-3) * z
      - 2.685381193529856e-2) * z + 1.128358514861418e-1) * z - 3.761262582423300e-1) * z + 1.128379165726710);
  }
  if (ef_is_nan(x)) { return x; }
  var r = 1.0;
  if (a < 4.0) {
    let q = 1.0 / a;
    let y = q * q;
    var p: f32;
    if (a < 2.0) {
      p = (((((((2.326819970068386e-2 * y - 1.387039388740657e-1) * y + 3.687424674597105e-1) * y
        - 5.824733027278666e-1) * y + 6.210004621745983e-1) * y - 4.944515323274145e-1) * y
        + 3.404879937665872e-1) * y - 2.741127028184656e-1) * y + 5.638259427386472e-1;
    } else {
      p = ((((((-1.047766399936249e1 * y + 1.297719955372516e1) * y - 7.495518717768503) * y
        + 2.921019019210786) * y - 1.015265279202700) * y + 4.218463358204948e-1) * y
        - 2.820767439740514e-1) * y + 5.641895067754075e-1;
    }
    r = 1.0 - ef_exp(-a * a) * q * p;
  }
  return select(r, -r, x < 0.0);
}

// sin(x + turn * pi / 2). The argument is reduced by pi / 2 in three parts: good to about |x| = 10^4.
fn ef_wave(x: f32, turn: i32) -> f32 {
  if (ef_is_nan(x) || ef_is_inf(x)) { return ef_nan(); }
  let q = round(x * 0.63661977236758134);
  let r = ((x - q * 1.5703125) - q * 4.837512969970703125e-4) - q * 7.549789948768648e-8;
  let z = r * r;
  let s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
  let c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
  let quadrant = (ef_to_int(q) + turn) & 3;
  let v = select(s, c, (quadrant & 1) == 1);
  return select(v, -v, quadrant >= 2);
}
fn ef_sin(x: f32) -> f32 { return select(ef_wave(x, 0), x, x == 0.0); }
fn ef_cos(x: f32) -> f32 { return ef_wave(x, 1); }

// a^b for positive, finite a and b: exp(b * log(a)) with the logarithm and the product in two words each, because the
// exponential turns an absolute error of its argument into a relative one.
fn ef_pow_general(a: f32, b: f32) -> f32 {
  let parts = ef_log_parts(a);
  let whole = parts.x * 0.693359375;
  let sum = whole + parts.y;
  let rest = (parts.y - (sum - whole)) + (parts.z - parts.x * 2.12194440e-4);
  let high = sum + rest;
  let low = rest - (high - sum);
  let p = b * high;
  if (abs(p) > 200.0) { return ef_exp(p); }
  // The rounding error of p, from halves whose products are exact.
  let b1 = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
  let h1 = bitcast<f32>(bitcast<u32>(high) & 0xfffff000u);
  let b2 = b - b1;
  let h2 = high - h1;
  let error = ((b1 * h1 - p) + b1 * h2 + b2 * h1) + b2 * h2;
  return ef_exp(p) * (1.0 + (error + b * low));
}

// Power as in IEEE 754: negative bases with whole exponents, 0 and infinities included.
fn ef_pow(a: f32, b: f32) -> f32 {
  let zero_exponent = (bitcast<u32>(b) & 0x7fffffffu) == 0u;
  if (zero_exponent || bitcast<u32>(a) == 0x3f800000u) { return 1.0; }
  if (ef_is_nan(a) || ef_is_nan(b)) { return ef_nan(); }
  let whole = floor(b) == b;
  if (whole && abs(b) <= 64.0) {
    var n = u32(abs(b));
    var base = a;
    var r = 1.0;
    while (n > 0u) {
      if ((n & 1u) == 1u) { r *= base; }
      n >>= 1u;
      if (n > 0u) { base *= base; }
    }
    return select(r, 1.0 / r, b < 0.0);
  }
  let m = abs(a);
  var r: f32;
  if (ef_is_inf(b) && m == 1.0) { r = 1.0; }
  else if (m == 0.0 || ef_is_inf(m) || ef_is_inf(b)) { r = select(0.0, ef_inf(), (m > 1.0) == (b > 0.0)); }
  else { r = ef_pow_general(m, b); }
  let negative = (bitcast<u32>(a) >> 31u) == 1u;
  if (!negative) { return r; }
  if (!whole) { return select(ef_nan(), r, m == 0.0 || ef_is_inf(m)); }
  let odd = abs(b) < 16777216.0 && (i32(b) & 1) == 1;
  return select(r, -r, odd);
}

// Remainder with the sign of the dividend, exact: long division of the significands, eight bits a step.
fn ef_fmod(a: f32, b: f32) -> f32 {
  let x = bitcast<u32>(a) & 0x7fffffffu;
  let y = bitcast<u32>(b) & 0x7fffffffu;
  if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return ef_nan(); }
  if (x < y) { return a; }
  let ex = max(x >> 23u, 1u);
  let ey = max(y >> 23u, 1u);
  let my = select((y & 0x7fffffu) | 0x800000u, y, y < 0x800000u);
  var r = select((x & 0x7fffffu) | 0x800000u, x, x < 0x800000u) % my;
  var d = ex - ey;
  while (d > 0u) {
    let k = min(d, 8u);
    r = (r << k) % my;
    d -= k;
  }
  let v = f32(r) * 1.1920928955078125e-7 * bitcast<f32>(ey << 23u);
  return select(v, -v, (bitcast<u32>(a) >> 31u) == 1u);
}

// Remainder with the sign of the divisor.
fn ef_mod(a: f32, b: f32) -> f32 {
  let r = ef_fmod(a, b);
  return select(r, r + b, r != 0.0 && (r < 0.0) != (b < 0.0));
}
fn ef_mod_int(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  let r = a % b;
  return select(r, r + b, r != 0 && (r < 0) != (b < 0));
}

fn ef_rotate(x: u32, turn: u32) -> u32 { return (x << turn) | (x >> (32u - turn)); }

// Threefry-2x32 with 20 rounds, as src/backend/threefry.ts.
fn ef_threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
  var turns = array<u32, 8>(13u, 15u, 26u, 6u, 17u, 29u, 16u, 24u);
  var keys = array<u32, 3>(key.x, key.y, 0x1bd11bdau ^ key.x ^ key.y);
  var x = counter + key;
  for (var round = 0u; round < 20u; round++) {
    x.x += x.y;
    x.y = ef_rotate(x.y, turns[round & 7u]) ^ x.x;
    if ((round & 3u) == 3u) {
      let injection = (round + 1u) >> 2u;
      x += vec2<u32>(keys[injection % 3u], keys[(injection + 1u) % 3u] + injection);
    }
  }
  return x;
}

// Notes the first id that was out of range. `token` names the op to the host; earlier tokens win.
fn ef_report(token: u32, id: i32) {
  if (atomicMax(&failure[0], token) < token) { atomicStore(&failure[1], bitcast<u32>(id)); }
}
