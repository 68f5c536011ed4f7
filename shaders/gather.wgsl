// out[.., i, ..] = x[.., index[.., i, ..], ..] along one axis. Template: ELEMENT the stored type.
//
// Words: 0 elements of out; 3 rank, 4 the axis, 5 its size in x, 6 x offset, 7 index offset, 8 out offset,
// 9 shape[8], 17 x strides[8], 25 index strides[8], 33 out strides[8].
// Bindings: b0 x, b1 index, b2 out, b3 status. An id out of range writes 0 and reports (1, id, size) in the status.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  var from_ = word(6); var ids = word(7); var to = word(8);
  var rest = job;
  for (var d = word(3) - 1; d >= 0; d--) {
    let x = rest % word(9 + d);
    rest = rest / word(9 + d);
    if (d != word(4)) { from_ += x * word(17 + d); }
    ids += x * word(25 + d); to += x * word(33 + d);
  }
  let id = b1[ids];
  if (id < 0 || id >= word(5)) {
    b3[0] = 1; b3[1] = id; b3[2] = word(5);
    b2[to] = ELEMENT(0);
    return;
  }
  b2[to] = b0[from_ + id * word(17 + word(4))];
}
