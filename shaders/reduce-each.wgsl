// Map and reduce over several tensors at once: one invocation, or with TREE one workgroup, per chunk of a tensor.
//
// Bindings: every buffer once, then the parts. Params: [chunks in all, grid width, 0, place of the first part], [chunk
// length, 0, 0, 0], then per tensor [end of its chunks, length, offset of each window], then the scalars' bits. Computes:
// parts[first + c] = combine over the elements of chunk c of program(element); another kernel combines the parts.
// Sums are rounded as in reduce.wgsl and reduce-tree.wgsl.
//#if SUBGROUPS
enable subgroups;
//#end
{{BINDINGS}}
//#if TREE
var<workgroup> lanes: array<{{TYPE}}, 64>;
//#end

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,{{SUBGROUP_BUILTINS}}
) {
//#if TREE
  let c = ef_flat(group, 0u, 1u);
//#else
  let c = ef_flat(group, lane, 64u);
//#end
  if (c >= params[0].x) { return; }
  var total = {{IDENTITY}};
{{CHUNKS}}
//#if TREE
{{COMBINE_LANES}}
  if (lane == 0u) { {{PARTS}}[params[0].w + c] = total; }
//#else
  {{PARTS}}[params[0].w + c] = total;
//#end
}
