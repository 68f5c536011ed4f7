// Running sums along the last axis, a chunk of a line per invocation.
//
// Bindings: input, chunk sums (where there are several chunks), output (unless TOTALS). Params: [lines * chunks, grid width, 0, chunks], [length,
// chunk length, stride of input along the axis, stride of output along it], then the walk over the lines (shape; offset and strides of
// input, then of output unless TOTALS).
// Computes: with TOTALS the sum of each chunk, at totals[line * chunks + chunk]; else the running sums, each chunk on top of
// the running sum of the chunks before it. Chunks depend on the shape alone.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let flat = ef_flat(group, lane, 64u);
  if (flat >= params[0].x) { return; }
  let chunks = params[0].w;
  let line = flat / chunks;
  let chunk = flat % chunks;
  let begin = chunk * params[1].y;
  let end = min(begin + params[1].y, params[1].x);
  let step = bitcast<i32>(params[1].z);
{{OFFSETS}}
  var sum = {{TYPE}}(0);
//#if TOTALS
  for (var k = begin; k < end; k++) { sum += {{TYPE}}({{INPUT}}[o0 + i32(k) * step]); }
  {{TOTAL}}[flat] = sum;
//#else
{{START}}
  let outStep = bitcast<i32>(params[1].w);
  for (var k = begin; k < end; k++) {
    sum += {{TYPE}}({{INPUT}}[o0 + i32(k) * step]);
    {{OUTPUT}}[o1 + i32(k) * outStep] = before + sum;
  }
//#end
}
