// One pass of a stable merge sort of indices along the last axis: one invocation per element.
//
// Bindings: input, indices so far, indices after. Params: [lines * length, grid width, 0, length], [length of the sorted runs,
// 1 in the first pass, stride along the axis, 1 if descending], then the walk over the lines (shape; offset and strides of input).
// Computes: runs of the given length are sorted; each element finds, by bisection in the run that its own is merged with,
// how many come before it there. In the first pass the indices are the positions. Keys are compared as integers made
// from the bits, so that denormal numbers are told apart on every adapter; NaN comes last in either direction.
{{BINDINGS}}
fn key(at: i32) -> i32 {
  let x = {{INPUT}}[at];
  let descending = params[1].w == 1u;
//#if FLOAT
  let bits = bitcast<i32>(x);
  let magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) { return 0x7fffffff; }
  return select(magnitude, -magnitude, (bits < 0) != descending);
//#else
  return select(i32(x), ~i32(x), descending);
//#end
}
fn index(at: u32, position: u32) -> i32 {
  if (params[1].y == 1u) { return i32(position); }
  return {{FROM}}[at];
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let n = params[0].w;
  let width = params[1].x;
  let step = bitcast<i32>(params[1].z);
  let line = flat / n;
  let p = flat % n;
{{OFFSETS}}
  let own = index(flat, p);
  let mine = key(o0 + own * step);
  let begin = p - p % width;
  let pair = p - p % (2u * width);
  let right = begin != pair;
  let other = min(select(pair + width, pair, right), n);
  var low = other;
  var high = min(other + width, n);
  while (low < high) {
    let middle = (low + high) / 2u;
    let theirs = key(o0 + index(line * n + middle, middle) * step);
    if (theirs < mine || (right && theirs == mine)) { low = middle + 1u; }
    else { high = middle; }
  }
  {{TO}}[line * n + pair + (p - begin) + (low - other)] = own;
}
