// Index of the largest (smallest) element along the last axis; ties to the lowest index, NaN wins.
// Template: ELEMENT the stored type, BETTER the comparison (> or <), IS_NAN a test of `x`.
//
// Words: 0 outputs; 3 length of the axis, 4 its stride, 5 outer rank, 6 input offset, 7 output offset,
// 8 outer shape[8], 16 input strides[8], 24 output strides[8]. Bindings: b0 input, b1 output.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  var at = word(6); var to = word(7);
  var rest = job;
  for (var d = word(5) - 1; d >= 0; d--) {
    let x = rest % word(8 + d);
    rest = rest / word(8 + d);
    at += x * word(16 + d); to += x * word(24 + d);
  }
  var best = b0[at];
  var where_ = 0;
  for (var j = 0; j < word(3); j++) {
    let x = b0[at + j * word(4)];
    if (IS_NAN) { where_ = j; break; }
    if (x BETTER best) { best = x; where_ = j; }
  }
  b1[to] = where_;
}
