// First half of scatter-add: links positions with equal ids, so that the second half need not search.
//
// Bindings: index, links. Params: [lines * block, grid width, 0, block], [first position of the block, index stride along
// the axis, 0, 0], then the walk over the lines (shape; offset and strides of index). A line runs along the axis.
// Computes: for position p of line l, links[l * block + p] = the next position of the block with the same id (or 0x7fffffff),
// with the top bit set where no earlier position of the block has it. Time is quadratic in the block.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let block = params[0].w;
  let p = flat % block;
  let i = flat / block;
  let step = bitcast<i32>(params[1].y);
{{OFFSETS}}
  let start = o0 + i32(params[1].x) * step;
  let id = {{INDEX}}[start + i32(p) * step];
  var link = 0x80000000u;
  for (var j = 0u; j < p; j++) {
    if ({{INDEX}}[start + i32(j) * step] == id) {
      link = 0u;
      break;
    }
  }
  var next = 0x7fffffffu;
  for (var j = p + 1u; j < block; j++) {
    if ({{INDEX}}[start + i32(j) * step] == id) {
      next = j;
      break;
    }
  }
  {{LINKS}}[flat] = bitcast<i32>(link | next);
}
