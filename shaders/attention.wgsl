// Attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): an invocation per query, keys a tile at a time.
//
// Bindings: every buffer once: q, k, v, masks, output, lse. Params: [workgroups with SHARED, else queries in all, grid
// width, 0, T], [S, heads, tiles of 64 queries per head, bits of the scale], [seed, stream, bits of the share that dropout
// keeps, bits of the factor for what it keeps], then per tensor [offset, steps along batch, head, position, feature], lse
// with [offset, steps along batch, head, position, 0], then per mask [offset, steps along batch, head, query, key].
// Computes: output = drop(softmax(scale q k' + masks)) v, 0 where a query sees no key, and the logarithm of the softmax's
// total (0 there). With SHARED a workgroup's queries belong to one head and share tiles of keys and values.
{{BINDINGS}}
const TILE = {{TILE}}u;
const D4 = {{D4}}u;
const E4 = {{E4}}u;
const FAR_BELOW = -3e38;
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
  var sum: array<vec4<f32>, E4>;
  if (inside) {
    for (var i = 0u; i < D4; i++) { q[i] = load_q(q_at + i32(row) * q_step, i); }
  }
  var top = FAR_BELOW;
  var total = 0.0;
  for (var s0 = 0u; s0 < stop; s0 += TILE) {
    let count = min(TILE, stop - s0);
//#if SHARED
    for (var n = lane; n < count * D4; n += 64u) { keys[n] = load_k(k_at + i32(s0 + n / D4) * k_step, n % D4); }
    for (var n = lane; n < count * E4; n += 64u) { values[n] = load_v(v_at + i32(s0 + n / E4) * v_step, n % E4); }
    workgroupBarrier();
//#end
    var scores: array<f32, TILE>;
    var next = top;
    if (inside) {
      for (var j = 0u; j < count; j++) {
        let key = s0 + j;
        var dots = vec4<f32>();
        for (var i = 0u; i < D4; i++) { dots += q[i] * {{KEY}}; }
        var x = dot(dots, vec4<f32>(1.0)) * scale;
        var excluded = false;
{{MASKS}}
        scores[j] = select(x, FAR_BELOW, excluded);
        next = select(max(next, x), next, excluded);
      }
      let shrink = ef_exp(top - next);
      total *= shrink;
      for (var i = 0u; i < E4; i++) { sum[i] *= shrink; }
      for (var j = 0u; j < count; j++) {
        if (scores[j] == FAR_BELOW) { continue; }
        var p = ef_exp(scores[j] - next);
        total += p;
//#if DROPOUT
        p *= kept(z, row, s0 + j);
//#end
        for (var i = 0u; i < E4; i++) { sum[i] += p * {{VALUE}}; }
      }
      top = next;
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
  if (!inside) { return; }
  let empty = total == 0.0;
  let factor = select(1.0 / total, 0.0, empty);
  let out = o_at + i32(row) * o_step;
  for (var i = 0u; i < E4; i++) { store_o(out, i, sum[i] * factor); }
  {{LSE}}[lse_at + i32(row) * lse_step] = select(top + ef_log(total), 0.0, empty);
}
