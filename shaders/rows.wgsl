// A row plan (src/backend/rows.ts) in one kernel: reductions over a row, then values per element and per row.
//
// Bindings: every buffer once. Params: [rows, grid width, 0, length of a row], then the walk over the outer axes (shape,
// offset and strides of operands, results per element, results per row), then the step along the row of operands and
// results per element, then the scalars' bits. Without TREE an invocation works a row off, summing in blocks of 32 (or four such
// sums side by side, where memory goes in fours); with
// TREE the 64 lanes of a workgroup share it, and combine what they found in a fixed order (src/backend/webgpu/lanes.ts).
//#if SUBGROUPS
enable subgroups;
//#end
{{BINDINGS}}
//#if TREE
{{LANES}}
//#end

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,{{SUBGROUP_BUILTINS}}
) {
//#if TREE
  let i = ef_flat(group, 0u, 1u);
//#else
  let i = ef_flat(group, lane, 64u);
//#end
  if (i >= params[0].x) { return; }
  let length = params[0].w;
{{OUTER}}
{{STEPS}}
{{REDUCTIONS}}
//#if TREE
  for (var k = lane; k < length; k += 64u) {
//#else
  for (var k = 0u; k < length; k += {{STEP}}u) {
//#end
{{ELEMENTS}}
  }
//#if TREE
  if (lane == 0u) {
//#else
  {
//#end
    let k = 0u;
{{ROWS}}
  }
}
