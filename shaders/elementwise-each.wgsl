// An expression program over several tensors laid end to end: one element per invocation, or four where memory goes in
// fours; elements and offsets then count those.
//
// Bindings: every buffer once; read_write where one of its windows is an output. Params: [elements in all, grid width, 0, 0],
// then per tensor [end of its elements, offset of each window], then the scalars' bits. Windows are contiguous, or one
// element repeated. Computes: as elementwise.wgsl; the elements of a tensor lie between the end before it and its own.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ef_flat(group, lane, 64u);
  if (i >= params[0].x) { return; }
{{LOADS}}
{{BODY}}
{{STORES}}
}
