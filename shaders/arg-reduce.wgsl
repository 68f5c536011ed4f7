// Index of the largest or smallest element along the last axis: one invocation per row (or per row and chunk).
//
// Bindings: input, output, and with chunks the scratch buffer of candidates. Params: [rows * chunks, grid width, 0, rows],
// [length, chunk length, stride along the last axis, 0], then the walk over the rows (shape, offset and strides).
// Computes: the lowest index of the best element; NaN is better than everything. With chunks, a first dispatch leaves the best
// index of each chunk at candidates[c * rows + row], a second one chooses among those in order.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let id = ef_flat(group, lane, 64u);
  if (id >= params[0].x) { return; }
  let i = id % params[0].w;
  let begin = (id / params[0].w) * params[1].y;
  let end = min(begin + params[1].y, params[1].x);
  let step = bitcast<i32>(params[1].z);
{{OFFSETS}}
  var best = i32({{FIRST}});
  var value = {{INPUT}}[o0 + best * step];
  for (var k = begin + 1u; k < end; k++) {
    let at = i32({{CANDIDATE}});
    let other = {{INPUT}}[o0 + at * step];
    if ({{BETTER}}) {
      best = at;
      value = other;
    }
  }
{{STORE}}
}
