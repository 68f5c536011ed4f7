// Second pass of scatter-add: the first position of each id walks the chain of its equals and adds them to out.
// Template: ELEMENT the stored type.
//
// Words: 0 positions (others * length); 3 length of the block, 4 first position of the block, 5 src stride along the
// axis, 6 src offset, 7 rank of the other axes, 8 their shape[8], 16 src strides[8], 24 out strides[8], 32 out offset,
// 33 out stride along the axis, 34 index offset, 35 index stride along the axis, 36 index strides[8],
// 44: 1 if each of the others has links of its own. Bindings: b0 src, b1 index, b2 links, b3 out.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  let others = word(0) / word(3);
  // Neighbouring invocations handle neighbouring elements of a row.
  let i = job / others;
  let other = job % others;
  let line = other * word(44) * word(3);
  if (b2[2 * (line + i)] == 0) { return; }
  var from_ = word(6) + word(4) * word(5);
  var to = word(32);
  var ids = word(34) + word(4) * word(35);
  var rest = other;
  for (var d = word(7) - 1; d >= 0; d--) {
    let x = rest % word(8 + d);
    rest = rest / word(8 + d);
    from_ += x * word(16 + d); to += x * word(24 + d); ids += x * word(36 + d);
  }
  to += b1[ids + i * word(35)] * word(33);
  var acc = b3[to];
  for (var j = i; j >= 0; j = b2[2 * (line + j) + 1]) { acc += b0[from_ + j * word(5)]; }
  b3[to] = acc;
}
