// Map and reduce with one workgroup per output (or per output and chunk), for hardware that wants neighbours to read
// neighbouring elements of one row.
//
// Bindings and params as in reduce.wgsl. Computes: lane l combines the elements l, l + 64, ... of its chunk, then the lanes
// are combined in a fixed order (src/backend/webgpu/lanes.ts).
//#if SUBGROUPS
enable subgroups;
//#end
{{BINDINGS}}
var<workgroup> parts: array<{{TYPE}}, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,{{SUBGROUP_BUILTINS}}
) {
  let id = ef_flat(group, 0u, 1u);
  if (id >= params[0].x) { return; }
  let i = id % params[0].w;
  let begin = (id / params[0].w) * params[1].y;
  let end = min(begin + params[1].y, params[1].x);
{{OUTER}}
  var part = {{IDENTITY}};
  for (var k = begin + lane; k < end; k += 64u) {
{{INNER}}
{{BODY}}
    part = {{COMBINE_PART}};
  }
{{COMBINE_LANES}}
  if (lane == 0u) {
    let total = part;
{{STORE}}
  }
}
