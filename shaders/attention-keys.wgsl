// Second half of attention's backward: an invocation per key, queries a tile at a time.
//
// Bindings: every buffer once: q, k, v, masks, lse, g, delta, dk, dv. Params as attention.wgsl with [workgroups, or keys in
// all, grid width, 0, S], [T, heads, tiles of 64 keys per head, bits of the scale]; tensors in the order q, k, v, lse, g,
// dk, dv, then the masks, then [offset of delta]. Computes, with p as in attention-queries.wgsl:
// dv = sum over queries of drop(p) g, and dk = scale sum over queries of p (drop(g . v) - delta) q.
{{BINDINGS}}
const TILE = {{TILE}}u;
const D4 = {{D4}}u;
const E4 = {{E4}}u;
//#if SHARED
var<workgroup> queries: array<vec4<f32>, TILE * D4>;
var<workgroup> slopes: array<vec4<f32>, TILE * E4>;
//#end
{{LOADS}}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
{{ROW}}
{{BASES}}
  var k: array<vec4<f32>, D4>;
  var v: array<vec4<f32>, E4>;
  var dk: array<vec4<f32>, D4>;
  var dv: array<vec4<f32>, E4>;
  if (inside) {
    for (var i = 0u; i < D4; i++) { k[i] = load_k(k_at + i32(row) * k_step, i); }
    for (var i = 0u; i < E4; i++) { v[i] = load_v(v_at + i32(row) * v_step, i); }
  }
  for (var s0 = start; s0 < stop; s0 += TILE) {
    let count = min(TILE, stop - s0);
//#if SHARED
    for (var n = lane; n < count * D4; n += 64u) { queries[n] = load_q(q_at + i32(s0 + n / D4) * q_step, n % D4); }
    for (var n = lane; n < count * E4; n += 64u) { slopes[n] = load_g(g_at + i32(s0 + n / E4) * g_step, n % E4); }
    workgroupBarrier();
//#end
    if (inside) {
      for (var j = 0u; j < count; j++) {
        let query = s0 + j;
        var dots = vec4<f32>();
        for (var i = 0u; i < D4; i++) { dots += k[i] * {{QUERY}}; }
        var x = dot(dots, vec4<f32>(1.0)) * scale;
        var excluded = false;
{{MASKS}}
        if (excluded) { continue; }
        let p = ef_exp(x - {{LSE}}[lse_at + i32(query) * lse_step]);
        dots = vec4<f32>();
        for (var i = 0u; i < E4; i++) { dots += v[i] * {{SLOPE}}; }
        var slope = dot(dots, vec4<f32>(1.0));
        var weight = p;
//#if DROPOUT
        let factor = kept(z, query, row);
        slope *= factor;
        weight *= factor;
//#end
        for (var i = 0u; i < E4; i++) { dv[i] += weight * {{SLOPE}}; }
        let ds = p * (slope - {{DELTA}}[delta_at + i32(z * others + query)]) * scale;
        for (var i = 0u; i < D4; i++) { dk[i] += ds * {{QUERY}}; }
      }
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
  if (!inside) { return; }
  for (var i = 0u; i < D4; i++) { store_dk(dk_at + i32(row) * dk_step, i, dk[i]); }
  for (var i = 0u; i < E4; i++) { store_dv(dv_at + i32(row) * dv_step, i, dv[i]); }
}
