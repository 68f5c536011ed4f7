// Matrix product of a few rows with a long operand, for hardware: a workgroup computes {{ROWS}} rows of {{COLUMNS}} columns, and
// reads its part of b once. {{SLOTS}} invocations share a column's K, those next to one another reading neighbouring words
// of b, along K or along N as b lies in memory.
//
// Bindings and params as in matmul-tiled.wgsl, with one tile along M; rows past the last one are computed from it and not
// stored. A tree in workgroup memory adds up what the invocations of a column have, in a fixed order.
{{BINDINGS}}
const SLOTS = {{SLOTS}}u;
const COLUMNS = {{COLUMNS}}u;
const LANES = SLOTS * COLUMNS;
//#if ALONG_K
const NEXT = 1u;
//#else
const NEXT = COLUMNS;
//#end
var<workgroup> sums: array<{{TYPE}}, LANES * {{ROWS}}u>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = ef_flat(group, 0u, 1u);
  if (tile >= params[0].x) { return; }
  let n0 = (tile % params[0].w) * COLUMNS;
  let i = tile / params[0].w;
  let size = vec3<u32>(params[1].yzw);
  let steps = bitcast<vec4<i32>>(params[2]);
  let out_steps = bitcast<vec2<i32>>(params[3].xy);
  let depth = min(params[3].z, size.z - i / params[3].w * params[3].z);
{{OFFSETS}}
//#if ALONG_K
  let slot = lane % SLOTS;
  let n = n0 + lane / SLOTS;
//#else
  let slot = lane / COLUMNS;
  let n = n0 + lane % COLUMNS;
//#end
  let bt = o1 + i32(min(n, size.y - 1u)) * steps.w;
{{STARTS}}
  for (var k = slot; k < depth; k += SLOTS) {
    let x = {{B}}[bt + i32(k) * steps.z];
{{STEPS}}
  }
{{SHARE}}
  workgroupBarrier();
  for (var half = SLOTS / 2u; half > 0u; half >>= 1u) {
    if (slot < half) {
{{ADD}}
    }
    workgroupBarrier();
  }
  if (slot == 0u && n < size.y) {
    for (var m = 0u; m < size.x; m++) {
      let o = o2 + i32(m) * out_steps.x + i32(n) * out_steps.y;
      {{OUT}}[o] = {{OLD}}sums[m * LANES + lane];
    }
  }
}
