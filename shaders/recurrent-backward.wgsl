// Backward of recurrent.wgsl, last step first; blocks of rows, lanes and steps as there.
//
// Bindings: every buffer once: weights [D, G*H, H], carry [N, D, B, H], the output's gradient [T, B, D*H], kept [D, T, B,
// K*H] and states [N, D, T+1, B, H] by step, mask [T, B] where present, dgi [D, T, B, G*H] by time, dgh [D, T, B, G*H] by
// step. Params as recurrent.wgsl with offsets of weights, carry, gradient, kept, states, dgi, dgh. Computes, from the
// gradients of the last states in carry: the cell's gradient program, and what flows back through the product: carry of
// state 0 += dgh weights. Leaves the gradients of the first states in carry.
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
{{SPACE}} through: array<vec4<f32>, GATES * H>;

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
  var carry: array<vec4<f32>, STATES * UNITS>;
  for (var u = 0u; u < UNITS; u++) {
    let j = own + u * LANES;
    if (j >= H) { break; }
    for (var r = 0u; r < 4u; r++) {
      let b = min(row0 + r, B - 1u);
      for (var n = 0u; n < STATES; n++) {
        carry[n * UNITS + u][r] = {{CARRY}}[params[3].y + ((n * D + d) * B + b) * H + j];
      }
    }
  }
  for (var left = T; left > 0u; left--) {
    let s = left - 1u;
    let t = select(s, T - 1u - s, d == 1u);
    for (var u = 0u; u < UNITS; u++) {
      let j = own + u * LANES;
      if (j >= H) { break; }
      for (var r = 0u; r < 4u; r++) {
        let b = row0 + r;
        if (b >= B) { break; }
        let step = (d * T + s) * B + b;
{{BODY}}
{{NEXT}}
      }
    }
//#if SHARED
    workgroupBarrier();
//#end
    for (var u0 = 0u; u0 < UNITS; u0 += AT_ONCE) {
      let j0 = own + u0 * LANES;
      if (j0 >= H) { break; }
{{SUMS}}
      for (var c = 0u; c < AT_ONCE; c++) { carry[u0 + c] += sum0[c]; }
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
  for (var u = 0u; u < UNITS; u++) {
    let j = own + u * LANES;
    if (j >= H) { break; }
    for (var r = 0u; r < 4u; r++) {
      let b = row0 + r;
      if (b >= B) { break; }
      for (var n = 0u; n < STATES; n++) {
        {{CARRY}}[params[3].y + ((n * D + d) * B + b) * H + j] = carry[n * UNITS + u][r];
      }
    }
  }
}
