// Map and reduce without workgroup memory: one invocation per output (or per output and chunk of the reduced axes).
//
// Bindings: every buffer once. Params: [outer * chunks, grid width, 0, outer], [inner, chunk length, 0, 0], then the walk
// over the kept axes (shape, per window offset and strides), the walk over the reduced ones, and the scalars' bits.
// Computes: out[o] = combine over k of program(inputs[o, k]). With chunks, invocation c * outer + o leaves its part in
// the scratch buffer at that place and a second dispatch combines the parts in order. Neighbours take neighbouring outputs.
// 32 values at a time are combined before they join the rest: the rounding error of a long sum grows 32 times slower.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let id = ef_flat(group, lane, 64u);
  if (id >= params[0].x) { return; }
  let i = id % params[0].w;
  let begin = (id / params[0].w) * params[1].y;
  let end = min(begin + params[1].y, params[1].x);
{{OUTER}}
  var total = {{IDENTITY}};
  for (var first = begin; first < end; first += 32u) {
    let last = min(first + 32u, end);
    var part = {{IDENTITY}};
    for (var k = first; k < last; k++) {
{{INNER}}
{{BODY}}
      part = {{COMBINE_PART}};
    }
    total = {{COMBINE_TOTAL}};
  }
{{STORE}}
}
