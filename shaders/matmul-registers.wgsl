// Matrix product for software adapters where memory goes in fours: an invocation computes {{ROWS}} x {{COLUMNS}} results in
// registers, and reads and writes four neighbours at a time, without workgroup memory.
//
// Bindings: every buffer once, as vectors of four. Params as in matmul.wgsl, tiles counted in workgroups of four invocations,
// one below the other; all offsets and strides but those of 1 are multiples of 4. The near axis of an operand, the one of
// stride 1, is K or the other one. What four invocations need of b, each of them reads a quarter of where the adapter can
// hand values round in a quad. Rows past the edge are computed from the last one and not stored.
//#if QUADS
enable subgroups;
//#end
{{BINDINGS}}
@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = ef_flat(group, 0u, 1u);
  if (tile >= params[0].x) { return; }
  let n0 = i32(tile % params[0].w) * {{COLUMNS}};
  let m0 = (i32(tile / params[0].w % params[1].x) * 4 + i32(lane)) * {{ROWS}};
  let i = tile / params[0].w / params[1].x;
  let size = bitcast<vec3<i32>>(params[1].yzw);
  let steps = bitcast<vec4<i32>>(params[2]);
  let pitches = steps.yz >> vec2<u32>(2u);
  let out_step = bitcast<i32>(params[3].x);
{{OFFSETS}}
{{STARTS}}
  for (var k = 0; 4 * k < size.z; k++) {
{{STEPS}}
  }
{{STORES}}
}
