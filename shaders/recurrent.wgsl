// A recurrent layer over all steps of a sequence: four rows of the batch and one direction stay together to the end.
//
// Bindings: every buffer once: gi [D, T, B, G*H] by time, weights [D, H, G*H], states [N, D, T+1, B, H] by step, output [T,
// B, D*H] by time, where present bias [D, G*H], mask [T, B] and kept [D, T, B, K*H] by step. Params: [blocks of rows, grid
// width, 0, T], [B, D, blocks per direction, 0], [offset of mask, its steps along time and batch, 0], offsets of gi,
// weights, states, output, bias, kept. Step s is time s, in the second direction T - 1 - s. Computes, from the first states:
// gh = h weights, and the cell's program of gi and gh. With SHARED the lanes of a workgroup share the units of a block and
// pass the state on in workgroup memory; else an invocation has a block to itself, AT_ONCE units at a time.
//#if QUADS
enable subgroups;
//#end
{{BINDINGS}}
const H = {{H}}u;
const GATES = {{G}}u;
const STATES = {{N}}u;
const KEPT = {{K}}u;
const LANES = {{LANES}}u;
const UNITS = {{UNITS}}u;
const AT_ONCE = {{AT_ONCE}}u;
{{SPACE}} h: array<vec4<f32>, H>;

@compute @workgroup_size({{SIZE}})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = ef_flat(group, 0u, 1u);
  if (block >= params[0].x) { return; }
//#if SHARED
  let own = lane;
//#else
  let own = 0u;
//#end
  let T = params[0].w;
  let B = params[1].x;
  let D = params[1].y;
  let d = block / params[1].z;
//#if SHARED
  let row0 = block % params[1].z * 4u;
//#else
  let row0 = (block % params[1].z * {{SIZE}}u + lane) * 4u;
//#end
  var now: array<vec4<f32>, STATES * UNITS>;
  for (var u = 0u; u < UNITS; u++) {
    let j = own + u * LANES;
    if (j >= H) { break; }
    for (var r = 0u; r < 4u; r++) {
      let b = min(row0 + r, B - 1u);
      for (var n = 0u; n < STATES; n++) {
        now[n * UNITS + u][r] = {{STATE}}[params[3].z + ((n * D + d) * (T + 1u) * B + b) * H + j];
      }
    }
    h[j] = now[u];
  }
//#if SHARED
  workgroupBarrier();
//#end
  for (var s = 0u; s < T; s++) {
    let t = select(s, T - 1u - s, d == 1u);
    for (var u0 = 0u; u0 < UNITS; u0 += AT_ONCE) {
      let j0 = own + u0 * LANES;
      if (j0 >= H) { break; }
{{SUMS}}
      for (var c = 0u; c < AT_ONCE; c++) {
        let u = u0 + c;
        let j = j0 + c;
        for (var r = 0u; r < 4u; r++) {
          let b = row0 + r;
          if (b >= B) { break; }
          let gi = params[3].x + ((d * T + t) * B + b) * GATES * H + j;
{{BODY}}
{{NEXT}}
        }
      }
    }
//#if SHARED
    workgroupBarrier();
//#end
    for (var u = 0u; u < UNITS; u++) {
      let j = own + u * LANES;
      if (j < H) { h[j] = now[u]; }
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
}
