// Adds up the parts of a matrix product whose K was cut, one invocation per result, the parts in their order.
//
// Bindings: every buffer once. Params: [results, grid width, 0, parts], then the walk over the results (shape; offset and
// strides of out). Part p of result i lies at p * results + i.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ef_flat(group, lane, 64u);
  if (i >= params[0].x) { return; }
{{OFFSETS}}
  var total = {{PARTS}}[i];
  for (var p = 1u; p < params[0].w; p++) { total += {{PARTS}}[p * params[0].x + i]; }
  {{OUT}}[o0] = {{OLD}}total;
}
