// An expression program over strided windows of one shape: one element per invocation, or four neighbours where memory
// goes in fours; then the last axis of the walk is that of fours.
//
// Bindings: every buffer once, however many windows lie on it; read_write where one of them is an output.
// Params: [count, grid width, 0, 0], shape, per window its offset and strides, then the scalars' bits.
// Computes: all inputs of element i are read before its outputs are written, so outputs may be inputs in place.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ef_flat(group, lane, 64u);
  if (i >= params[0].x) { return; }
{{OFFSETS}}
{{BODY}}
}
