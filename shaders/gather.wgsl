// Gather along one axis: one element per invocation.
//
// Bindings: x, index, out (every buffer once) and the failure cell. Params: [count, grid width, 0, size of the axis],
// [stride of x along the axis, token of this op, 0, 0], then the walk over out (shape; offset and strides of x with 0
// along the axis, of index, of out). Computes: out[i] = x[.., index[i], ..]; for an id out of range 0, and a report.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ef_flat(group, lane, 64u);
  if (i >= params[0].x) { return; }
{{OFFSETS}}
  let id = {{INDEX}}[o1];
  if (bitcast<u32>(id) >= params[0].w) {
    ef_report(params[1].y, id);
    {{OUT}}[o2] = {{TYPE}}();
    return;
  }
  {{OUT}}[o2] = {{X}}[o0 + id * bitcast<i32>(params[1].x)];
}
