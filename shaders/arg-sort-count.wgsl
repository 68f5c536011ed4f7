// Sorts short blocks of indices along the last axis, for software adapters: one invocation per element counts how many of its
// block come before it.
//
// Bindings: input, results. Params as in arg-sort.wgsl, but first the elements in all. Computes: what arg-sort.wgsl does.
{{BINDINGS}}
fn key(at: i32) -> i32 {
  let x = {{INPUT}}[at];
  return {{KEY}};
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let n = params[0].w;
  let width = params[1].y;
  let step = bitcast<i32>(params[1].z);
  let line = flat / n;
  let own = flat % n;
{{OFFSETS}}
  let mine = key(o0 + i32(own) * step);
  let first = own - own % width;
  var to = flat - own + first;
  for (var k = first; k < min(first + width, n); k++) {
    let other = key(o0 + i32(k) * step);
    to += u32(other < mine || (other == mine && k < own));
  }
//#if PAIRS
  {{TO}}[2u * to] = mine;
  {{TO}}[2u * to + 1u] = i32(own);
//#else
  {{TO}}[to] = i32(own);
//#end
}
