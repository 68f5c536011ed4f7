// out = a @ b (+ out), batched, any strides: 32 x 32 outputs per workgroup through workgroup memory, 4 x 4 per
// invocation. The variant for real GPUs, where global memory is the bottleneck.
//
// Words and bindings as in matmul.wgsl; word 6 counts 32-wide tiles along N and word 7 tiles per matrix.

const BLOCK = 32;
const DEPTH = 16;

var<workgroup> ta: array<f32, 512>;
var<workgroup> tb: array<f32, 512>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = i32(group.y * groups.x + group.x);
  if (job >= word(0)) { return; }
  let M = word(3); let N = word(4); let K = word(5);
  let tile = job % word(7);
  let row0 = (tile / word(6)) * BLOCK;
  let col0 = (tile % word(6)) * BLOCK;
  var a0 = word(12); var b0_ = word(15); var o0 = word(18);
  var rest = job / word(7);
  for (var d = word(8) - 1; d >= 0; d--) {
    let x = rest % word(21 + d);
    rest = rest / word(21 + d);
    a0 += x * word(27 + d); b0_ += x * word(33 + d); o0 += x * word(39 + d);
  }
  let id = i32(local);
  let ty = id / 8; let tx = id % 8;
  var c: array<vec4<f32>, 4>;
  for (var k0 = 0; k0 < K; k0 += DEPTH) {
    for (var e = id; e < BLOCK * DEPTH; e += 64) {
      let r = e / DEPTH; let ka = e % DEPTH;
      let inA = row0 + r < M && k0 + ka < K;
      ta[e] = select(0.0, b0[a0 + min(row0 + r, M - 1) * word(13) + min(k0 + ka, K - 1) * word(14)], inA);
      let kb = e / BLOCK; let s = e % BLOCK;
      let inB = col0 + s < N && k0 + kb < K;
      tb[e] = select(0.0, b1[b0_ + min(k0 + kb, K - 1) * word(16) + min(col0 + s, N - 1) * word(17)], inB);
    }
    workgroupBarrier();
    for (var k = 0; k < DEPTH; k++) {
      let y = vec4<f32>(tb[k * BLOCK + tx], tb[k * BLOCK + tx + 8], tb[k * BLOCK + tx + 16], tb[k * BLOCK + tx + 24]);
      for (var r = 0; r < 4; r++) { c[r] += ta[(ty + 8 * r) * DEPTH + k] * y; }
    }
    workgroupBarrier();
  }
  for (var r = 0; r < 4; r++) {
    for (var s = 0; s < 4; s++) {
      let row = row0 + ty + 8 * r; let col = col0 + tx + 8 * s;
      if (row < M && col < N) {
        let at = o0 + row * word(19) + col * word(20);
        b2[at] = c[r][s] + select(0.0, b2[at], word(9) != 0);
      }
    }
  }
}
