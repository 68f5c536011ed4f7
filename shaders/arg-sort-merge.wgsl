// One pass of a stable merge sort of keys and positions: two sorted runs of a line become one, {{STRETCH}} results an invocation.
//
// Bindings: pairs so far, results. Params: [lines * stretches in a line, grid width, 0, length of a line], [length of the
// sorted runs, a multiple of {{STRETCH}}; stretches in a line, 0, 0].
// Computes: how much of each run comes before a stretch is found by bisection; from there on it is merged one by one.
// With PAIRS keys and positions are the result, else the positions, in the last pass.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let n = params[0].w;
  let width = params[1].x;
  let line = flat / params[1].y * n;
  let first = flat % params[1].y * {{STRETCH}}u;
  let begin = first - first % (2u * width);
  let middle = min(begin + width, n);
  let end = min(middle + width, n);
  let left = line + begin;
  let right = line + middle;
  let before = first - begin;
  var low = before - min(before, end - middle);
  var high = min(before, middle - begin);
  while (low < high) {
    let half = (low + high) / 2u;
    if ({{FROM}}[2u * (left + half)] <= {{FROM}}[2u * (right + before - 1u - half)]) { low = half + 1u; }
    else { high = half; }
  }
  var l = left + low;
  var r = right + before - low;
  for (var at = line + first; at < min(line + first + {{STRETCH}}u, line + end); at++) {
    let from_left = r >= line + end || (l < right && {{FROM}}[2u * l] <= {{FROM}}[2u * r]);
    let next = select(r, l, from_left);
    l += u32(from_left);
    r += u32(!from_left);
//#if PAIRS
    {{TO}}[2u * at] = {{FROM}}[2u * next];
    {{TO}}[2u * at + 1u] = {{FROM}}[2u * next + 1u];
//#else
    {{TO}}[at] = {{FROM}}[2u * next + 1u];
//#end
  }
}
