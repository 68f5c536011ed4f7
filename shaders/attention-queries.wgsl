// First half of attention's backward: an invocation per query, keys a tile at a time, as attention.wgsl.
//
// Bindings: every buffer once: q, k, v, masks, output, lse, g (the output's gradient), dq, delta. Params as attention.wgsl;
// tensors in the order q, k, v, output, lse, g, dq, then the masks, then [offset of delta]. Computes, with weights p
// again from the scores and dropout drawn again: delta = g . output of each query, [heads of the part, T] for the second
// half, and dq = scale sum over keys of p (drop(g . v) - delta) k.
{{BINDINGS}}
const TILE = {{TILE}}u;
const D4 = {{D4}}u;
const E4 = {{E4}}u;
//#if SHARED
var<workgroup> keys: array<vec4<f32>, TILE * D4>;
var<workgroup> values: array<vec4<f32>, TILE * E4>;
//#end
{{LOADS}}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
{{ROW}}
{{BASES}}
  var q: array<vec4<f32>, D4>;
  var g: array<vec4<f32>, E4>;
  var sum: array<vec4<f32>, D4>;
  var delta = 0.0;
  var lse = 0.0;
  if (inside) {
    for (var i = 0u; i < D4; i++) { q[i] = load_q(q_at + i32(row) * q_step, i); }
    for (var i = 0u; i < E4; i++) {
      g[i] = load_g(g_at + i32(row) * g_step, i);
      delta += dot(g[i], load_o(o_at + i32(row) * o_step, i));
    }
    lse = {{LSE}}[lse_at + i32(row) * lse_step];
    {{DELTA}}[delta_at + i32(z * rows + row)] = delta;
  }
  for (var s0 = 0u; s0 < stop; s0 += TILE) {
    let count = min(TILE, stop - s0);
//#if SHARED
    for (var n = lane; n < count * D4; n += 64u) { keys[n] = load_k(k_at + i32(s0 + n / D4) * k_step, n % D4); }
    for (var n = lane; n < count * E4; n += 64u) { values[n] = load_v(v_at + i32(s0 + n / E4) * v_step, n % E4); }
    workgroupBarrier();
//#end
    if (inside) {
      for (var j = 0u; j < count; j++) {
        let key = s0 + j;
        var dots = vec4<f32>();
        for (var i = 0u; i < D4; i++) { dots += q[i] * {{KEY}}; }
        var x = dot(dots, vec4<f32>(1.0)) * scale;
        var excluded = false;
{{MASKS}}
        if (excluded) { continue; }
        dots = vec4<f32>();
        for (var i = 0u; i < E4; i++) { dots += g[i] * {{VALUE}}; }
        var slope = dot(dots, vec4<f32>(1.0));
//#if DROPOUT
        slope *= kept(z, row, key);
//#end
        let ds = ef_exp(x - lse) * (slope - delta) * scale;
        for (var i = 0u; i < D4; i++) { sum[i] += ds * {{KEY}}; }
      }
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
  if (!inside) { return; }
  for (var i = 0u; i < D4; i++) { store_dq(dq_at + i32(row) * dq_step, i, sum[i]); }
}
