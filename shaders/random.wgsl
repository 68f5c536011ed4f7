// Random fill of a contiguous window; the scheme is documented at `RandomKind` in src/backend/types.ts.
//
// Bindings: out. Params: [count, grid width, 0, offset], [seed, stream, low, range], [bits of p, 0, 0, 0]; a range of 0
// stands for 2^32. Computes: element i from its position alone.
{{BINDINGS}}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ef_flat(group, lane, 64u);
  if (i >= params[0].x) { return; }
  let key = params[1].xy;
  //#if NORMAL
  let words = ef_threefry(key, vec2<u32>(i, 1u));
  let u = f32((words.x >> 8u) + 1u) * 5.9604644775390625e-8;
  let v = f32(words.y >> 8u) * 5.9604644775390625e-8;
  let value = sqrt(-2.0 * ef_log(u)) * ef_cos(6.283185307179586 * v);
  //#else
  let words = ef_threefry(key, vec2<u32>(i >> 1u, 0u));
  let word = select(words.x, words.y, (i & 1u) == 1u);
  //#end
  //#if UNIFORM
  let value = f32(word >> 8u) * 5.9604644775390625e-8;
  //#end
  //#if BERNOULLI
  let value = f32(word >> 8u) * 5.9604644775390625e-8 < bitcast<f32>(params[2].x);
  //#end
  //#if INT
  // The high word of word * range, by halves; no partial sum exceeds 32 bits.
  let range = params[1].w;
  let low_part = ((word & 0xffffu) * (range & 0xffffu)) >> 16u;
  let middle = (word >> 16u) * (range & 0xffffu) + low_part;
  let cross = (word & 0xffffu) * (range >> 16u) + (middle & 0xffffu);
  let high = (word >> 16u) * (range >> 16u) + (middle >> 16u) + (cross >> 16u);
  let value = bitcast<i32>(params[1].z + select(high, word, range == 0u));
  //#end
{{STORE}}
}
