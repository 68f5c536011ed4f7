// Threefry-2x32 (20 rounds; Salmon et al. 2011) on the element's index. Template: BODY, one statement that stores
// element `i`.
//
// Words: 0 elements; 3 seed, 4 stream, 5 out offset, 6 and 7 numbers of the distribution. Binding: b0 out.

fn rotate(x: u32, n: u32) -> u32 { return (x << n) | (x >> (32u - n)); }

fn threefry(c0: u32, c1: u32) -> vec2<u32> {
  let k0 = bitcast<u32>(word(3));
  let k1 = bitcast<u32>(word(4));
  var keys = array<u32, 3>(k0, k1, 0x1bd11bdau ^ k0 ^ k1);
  var turns = array<u32, 8>(13u, 15u, 26u, 6u, 17u, 29u, 16u, 24u);
  var x0 = c0 + k0;
  var x1 = c1 + k1;
  for (var r = 0u; r < 20u; r++) {
    x0 += x1;
    x1 = rotate(x1, turns[r & 7u]) ^ x0;
    if ((r & 3u) == 3u) {
      let n = (r + 1u) >> 2u;
      x0 += keys[n % 3u];
      x1 += keys[(n + 1u) % 3u] + n;
    }
  }
  return vec2<u32>(x0, x1);
}

fn draw(i: u32) -> u32 { let block = threefry(i >> 1u, 0u); return select(block.x, block.y, (i & 1u) == 1u); }
fn uniform_(i: u32) -> f32 { return f32(draw(i) >> 8u) / 16777216.0; }
fn normal_(i: u32) -> f32 {
  let block = threefry(i, 1u);
  let a = f32((block.x >> 8u) + 1u) / 16777216.0;
  let b = f32(block.y >> 8u) / 16777216.0;
  return sqrt(-2.0 * log(a)) * cos(6.2831855 * b);
}
// The high word of a 32 x 32 bit product.
fn mul_high(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let low = al * bl;
  let mid = ah * bl + (low >> 16u);
  let mid2 = al * bh + (mid & 0xffffu);
  return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  let i = u32(job);
  let at = word(5) + job;
  BODY
}
