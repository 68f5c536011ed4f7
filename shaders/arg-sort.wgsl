// Sorts blocks of indices along the last axis, for hardware: {{BLOCK}} elements a workgroup, in its memory.
//
// Bindings: input, results. Params: [workgroups, grid width, 0, length of a line], [lines * blocks in a line, length of a
// block (a power of two), stride along the axis, 1 if descending], [blocks in a line, 0, 0, 0], then the walk over the lines
// (shape; offset and strides of input). Several short blocks share a workgroup.
// Computes: a bitonic network whose comparisons all go one way, over keys and, where those are equal, positions: so it is
// stable, although the network is not. Places past the end of a line come after NaN, since their positions are higher. With
// PAIRS each key and its position go to merging (arg-sort-merge.wgsl), else the positions are the result.
{{BINDINGS}}
const BLOCK = {{BLOCK}}u;
const LANES = {{LANES}}u;
var<workgroup> keys: array<i32, BLOCK>;
var<workgroup> positions: array<u32, BLOCK>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let place = ef_flat(group, 0u, 1u);
  if (place >= params[0].x) { return; }
  let n = params[0].w;
  let width = params[1].y;
  let step = bitcast<i32>(params[1].z);
  for (var q = lane; q < BLOCK; q += LANES) {
    let block = (place * BLOCK + q) / width;
    let line = block / params[2].x;
    let position = block % params[2].x * width + q % width;
    positions[q] = position;
    keys[q] = 0x7fffffff;
    if (block < params[1].x && position < n) {
{{OFFSETS}}
      let x = {{INPUT}}[o0 + i32(position) * step];
      keys[q] = {{KEY}};
    }
  }
  workgroupBarrier();
  for (var size = 2u; size <= width; size <<= 1u) {
    for (var gap = size / 2u; gap > 0u; gap >>= 1u) {
      for (var q = lane; q < BLOCK / 2u; q += LANES) {
        let low = ((q & ~(gap - 1u)) << 1u) | (q & (gap - 1u));
        // Two sorted halves are first compared end to end.
        let high = select(low ^ (size - 1u), low + gap, 2u * gap < size);
        let a = keys[low];
        let b = keys[high];
        let p = positions[low];
        let r = positions[high];
        if (b < a || (b == a && r < p)) {
          keys[low] = b;
          keys[high] = a;
          positions[low] = r;
          positions[high] = p;
        }
      }
      workgroupBarrier();
    }
  }
  for (var q = lane; q < BLOCK; q += LANES) {
    let block = (place * BLOCK + q) / width;
    let position = block % params[2].x * width + q % width;
    if (block < params[1].x && position < n) {
      let to = block / params[2].x * n + position;
//#if PAIRS
      {{TO}}[2u * to] = keys[q];
      {{TO}}[2u * to + 1u] = i32(positions[q]);
//#else
      {{TO}}[to] = i32(positions[q]);
//#end
    }
  }
}
