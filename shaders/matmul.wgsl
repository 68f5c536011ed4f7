// out = a @ b (+ out), batched, any strides: 4 x 4 outputs per invocation, held in registers, no workgroup memory.
// The variant for software adapters, which pay for barriers.
//
// Words: 0 tiles in all; 3 M, 4 N, 5 K, 6 tiles along N, 7 tiles per matrix, 8 batch rank, 9 accumulate;
// 12 a: offset, row stride, column stride; 15 b; 18 out; 21 batch shape[6], 27 a's batch strides[6], 33 b's, 39 out's.
// Bindings: b0 a, b1 b, b2 out.

const TILE = 4;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  let M = word(3); let N = word(4); let K = word(5);
  let tile = job % word(7);
  let row = (tile / word(6)) * TILE;
  let col = (tile % word(6)) * TILE;
  var a0 = word(12); var b0_ = word(15); var o0 = word(18);
  var rest = job / word(7);
  for (var d = word(8) - 1; d >= 0; d--) {
    let x = rest % word(21 + d);
    rest = rest / word(21 + d);
    a0 += x * word(27 + d); b0_ += x * word(33 + d); o0 += x * word(39 + d);
  }
  // Rows and columns past the edge repeat the last one and are not stored.
  var ra: array<i32, 4>; var cb: array<i32, 4>;
  for (var t = 0; t < TILE; t++) {
    ra[t] = a0 + min(row + t, M - 1) * word(13);
    cb[t] = b0_ + min(col + t, N - 1) * word(17);
  }
  let ka = word(14); let kb = word(16);
  var c0 = vec4<f32>(); var c1 = vec4<f32>(); var c2 = vec4<f32>(); var c3 = vec4<f32>();
  for (var k = 0; k < K; k++) {
    let y = vec4<f32>(b1[cb[0] + k * kb], b1[cb[1] + k * kb], b1[cb[2] + k * kb], b1[cb[3] + k * kb]);
    c0 += b0[ra[0] + k * ka] * y;
    c1 += b0[ra[1] + k * ka] * y;
    c2 += b0[ra[2] + k * ka] * y;
    c3 += b0[ra[3] + k * ka] * y;
  }
  var c = array<vec4<f32>, 4>(c0, c1, c2, c3);
  for (var r = 0; r < TILE; r++) {
    for (var s = 0; s < TILE; s++) {
      if (row + r < M && col + s < N) {
        let at = o0 + (row + r) * word(19) + (col + s) * word(20);
        b2[at] = c[r][s] + select(0.0, b2[at], word(9) != 0);
      }
    }
  }
}
