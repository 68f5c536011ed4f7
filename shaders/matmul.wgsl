// Matrix product without workgroup memory: each invocation computes a 4 x 4 tile of one matrix in registers.
//
// Bindings: every buffer once. Params: [tiles in all, grid width, 0, tiles along N], [tiles along M, M, N, K], the strides
// [a along M, a along K, b along K, b along N], [out along M, out along N, 0, 0], then the walk over the batch axes
// (shape; offset and strides of a, b, out). Strides are data, so transposed operands need no kernel of their own.
// Computes: out = a @ b, or out += a @ b. Rows and columns past the edge are computed from the last one and not stored.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = ef_flat(group, lane, 64u);
  if (tile >= params[0].x) { return; }
  let n0 = (tile % params[0].w) * 4u;
  let m0 = (tile / params[0].w % params[1].x) * 4u;
  let i = tile / params[0].w / params[1].x;
  let size = vec3<u32>(params[1].yzw);
  let rows = vec4<i32>(min(vec4<u32>(m0, m0 + 1u, m0 + 2u, m0 + 3u), vec4<u32>(size.x - 1u)));
  let cols = vec4<i32>(min(vec4<u32>(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4<u32>(size.y - 1u)));
  let steps = bitcast<vec4<i32>>(params[2]);
  let out_steps = bitcast<vec2<i32>>(params[3].xy);
{{OFFSETS}}
  var at = rows * steps.x + o0;
  var bt = cols * steps.w + o1;
  var r0 = vec4<{{TYPE}}>();
  var r1 = vec4<{{TYPE}}>();
  var r2 = vec4<{{TYPE}}>();
  var r3 = vec4<{{TYPE}}>();
  for (var k = 0u; k < size.z; k++) {
    let b = vec4<{{TYPE}}>({{B}}[bt.x], {{B}}[bt.y], {{B}}[bt.z], {{B}}[bt.w]);
    r0 += {{A}}[at.x] * b;
    r1 += {{A}}[at.y] * b;
    r2 += {{A}}[at.z] * b;
    r3 += {{A}}[at.w] * b;
    at += steps.y;
    bt += steps.z;
  }
  var values = array<vec4<{{TYPE}}>, 4>(r0, r1, r2, r3);
  for (var r = 0u; r < min(4u, size.x - m0); r++) {
    for (var c = 0u; c < min(4u, size.y - n0); c++) {
      let o = o2 + i32(m0 + r) * out_steps.x + i32(n0 + c) * out_steps.y;
      {{OUT}}[o] = {{OLD}}values[r][c];
    }
  }
}
