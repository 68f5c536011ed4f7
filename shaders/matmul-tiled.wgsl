// Matrix product for hardware: a workgroup computes a {{TILE}} x {{TILE}} tile, its operands staged in workgroup memory
// 16 columns of a and rows of b at a time; each invocation keeps 4 x 4 results in registers.
//
// Bindings and params as in matmul.wgsl, tiles counted in workgroups; but the first of the batch axes may be parts of K, and
// params[3].zw are the length of a part and the matrices of one: K, and all of them, if it is not cut. An invocation's rows and columns are SIDE apart, so
// that neighbours read neighbouring words and write neighbouring results. Which way neighbours go through the operands
// when they load (A_ALONG_K, B_ALONG_K) follows their layout in memory. Values past an edge are loaded as 0.
{{BINDINGS}}
const TILE = {{TILE}}u;
const SIDE = {{SIDE}}u;
const PITCH = TILE + 1u;
const DEPTH = 16u;
var<workgroup> ta: array<{{TYPE}}, DEPTH * PITCH>;
var<workgroup> tb: array<{{TYPE}}, DEPTH * PITCH>;

@compute @workgroup_size({{SIDE}}, {{SIDE}})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = ef_flat(group, 0u, 1u);
  if (tile >= params[0].x) { return; }
  let n0 = (tile % params[0].w) * TILE;
  let m0 = (tile / params[0].w % params[1].x) * TILE;
  let i = tile / params[0].w / params[1].x;
  let size = vec3<u32>(params[1].yzw);
  let steps = bitcast<vec4<i32>>(params[2]);
  let out_steps = bitcast<vec2<i32>>(params[3].xy);
  let depth = min(params[3].z, size.z - i / params[3].w * params[3].z);
{{OFFSETS}}
{{REGISTERS}}
  for (var k0 = 0u; k0 < depth; k0 += DEPTH) {
    for (var q = lane; q < TILE * DEPTH; q += SIDE * SIDE) {
      //#if A_ALONG_K
      let ak = q % DEPTH;
      let am = q / DEPTH;
      //#else
      let ak = q / TILE;
      let am = q % TILE;
      //#end
      var av = {{TYPE}}();
      if (k0 + ak < depth && m0 + am < size.x) {
        av = {{A}}[o0 + i32(m0 + am) * steps.x + i32(k0 + ak) * steps.y];
      }
      ta[ak * PITCH + am] = av;
      //#if B_ALONG_K
      let bk = q % DEPTH;
      let bn = q / DEPTH;
      //#else
      let bk = q / TILE;
      let bn = q % TILE;
      //#end
      var bv = {{TYPE}}();
      if (k0 + bk < depth && n0 + bn < size.y) {
        bv = {{B}}[o1 + i32(k0 + bk) * steps.z + i32(n0 + bn) * steps.w];
      }
      tb[bk * PITCH + bn] = bv;
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
{{MULTIPLY}}
    }
    workgroupBarrier();
  }
  var values = array<vec4<{{TYPE}}>, 4>(r0, r1, r2, r3);
  for (var r = 0u; r < 4u; r++) {
    let m = m0 + local.y + r * SIDE;
    for (var c = 0u; c < 4u; c++) {
      let n = n0 + local.x + c * SIDE;
      if (m < size.x && n < size.y) {
        let o = o2 + i32(m) * out_steps.x + i32(n) * out_steps.y;
        {{OUT}}[o] = {{OLD}}values[r][c];
      }
    }
  }
}
