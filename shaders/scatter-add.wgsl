// Scatter-add along one axis, in ascending order of position and without atomics: the invocation of the first position
// that has an id adds the values of all positions with that id.
//
// Bindings: out, index, src (every buffer once), the links with LINKED, and the failure cell. Params: [block * others, grid
// width, 0, size of the axis], [block, first position of the block, stride of out along the axis, of index], [of src, token
// of this op, 0, 0], then the walk over the other axes (shape; offset and strides of out, index, src and, with LINKED, of
// the links). Computes, for a block of positions: out[.., index[.., p, ..], ..] += src[.., p, ..].
// Without LINKED each invocation searches its line itself, which pays where ids differ from line to line.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let others = params[0].x / params[1].x;
  let block = params[1].x;
  let p = flat / others;
  let i = flat % others;
  let out_step = bitcast<i32>(params[1].z);
  let id_step = bitcast<i32>(params[1].w);
  let src_step = bitcast<i32>(params[2].x);
{{OFFSETS}}
  let ids = o1 + i32(params[1].y) * id_step;
  let source = o2 + i32(params[1].y) * src_step;
  let id = {{INDEX}}[ids + i32(p) * id_step];
  if (bitcast<u32>(id) >= params[0].w) {
    ef_report(params[2].y, id);
    return;
  }
  let o = o0 + id * out_step;
  //#if LINKED
  var link = bitcast<u32>({{LINKS}}[o3 + i32(p)]);
  if (link < 0x80000000u) { return; }
  link &= 0x7fffffffu;
  var sum = {{OUT}}[o] + {{SRC}}[source + i32(p) * src_step];
  while (link != 0x7fffffffu) {
    sum += {{SRC}}[source + i32(link) * src_step];
    link = bitcast<u32>({{LINKS}}[o3 + i32(link)]) & 0x7fffffffu;
  }
  //#else
  for (var j = 0u; j < p; j++) {
    if ({{INDEX}}[ids + i32(j) * id_step] == id) { return; }
  }
  var sum = {{OUT}}[o] + {{SRC}}[source + i32(p) * src_step];
  for (var j = p + 1u; j < block; j++) {
    if ({{INDEX}}[ids + i32(j) * id_step] == id) { sum += {{SRC}}[source + i32(j) * src_step]; }
  }
  //#end
  {{OUT}}[o] = sum;
}
