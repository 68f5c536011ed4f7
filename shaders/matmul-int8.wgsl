// Product of int8 matrices, summed in int32: an invocation computes 4 rows of a panel of 8 columns in registers.
//
// Bindings: a [M, quads], b [panels, quads, 8] as vectors of four, out [M, N] (every buffer once); words of four bytes along
// K, see src/backend/int8.ts. Params: [tiles, grid width, 0, panels], [M, N, quads, row stride of a], [row stride of out;
// offsets of a, b in vectors, out]. Rows past the edge are computed from the last one and not stored.
//#if PACKED
fn multiply(x: i32, y: i32) -> i32 { return dot4I8Packed(bitcast<u32>(x), bitcast<u32>(y)); }
//#else
fn multiply(x: i32, y: i32) -> i32 {
  let a = vec4<i32>(x << 24u, x << 16u, x << 8u, x) >> vec4<u32>(24u);
  let b = vec4<i32>(y << 24u, y << 16u, y << 8u, y) >> vec4<u32>(24u);
  return dot(a, b);
}
//#end
fn four(x: i32, y: vec4<i32>) -> vec4<i32> {
  return vec4<i32>(multiply(x, y.x), multiply(x, y.y), multiply(x, y.z), multiply(x, y.w));
}
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = ef_flat(group, lane, 64u);
  if (tile >= params[0].x) { return; }
  let size = bitcast<vec4<i32>>(params[1]);
  let place = bitcast<vec4<i32>>(params[2]);
  let panel = i32(tile % params[0].w);
  let m0 = i32(tile / params[0].w) * 4;
  let last = size.x - 1;
  let rows = place.y + size.w * min(vec4<i32>(m0, m0 + 1, m0 + 2, m0 + 3), vec4<i32>(last));
  let columns = place.z + panel * size.z * 2;
  var sums: array<vec4<i32>, 8>;
  for (var q = 0; q < size.z; q++) {
    let left = {{B}}[columns + 2 * q];
    let right = {{B}}[columns + 2 * q + 1];
    for (var r = 0; r < 4; r++) {
      let x = {{A}}[rows[r] + q];
      sums[2 * r] += four(x, left);
      sums[2 * r + 1] += four(x, right);
    }
  }
  for (var r = 0; r < min(4, size.x - m0); r++) {
    let at = place.w + (m0 + r) * place.x + panel * 8;
    for (var c = 0; c < min(8, size.y - panel * 8); c++) { {{OUT}}[at + c] = sums[2 * r + c / 4][c % 4]; }
  }
}
