// First pass of scatter-add: links equal ids of a line, so that one invocation per distinct id can add them in
// ascending order without atomics. For each position: whether it is the first with its id, and the next with it (or -1).
//
// Words: 0 positions in all (lines * length); 3 length of the block, 4 first position of the block, 5 stride of the
// index along the axis, 6 index offset, 7 line rank, 8 line shape[8], 16 index strides of the line axes[8], 24 size of
// the axis in out. Bindings: b0 index, b1 links (2 per position), b2 status.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, 64u);
  if (job >= word(0)) { return; }
  let length = word(3);
  let i = job % length;
  var base = word(6) + word(4) * word(5);
  var rest = job / length;
  for (var d = word(7) - 1; d >= 0; d--) {
    base += (rest % word(8 + d)) * word(16 + d);
    rest = rest / word(8 + d);
  }
  let id = b0[base + i * word(5)];
  var first = 1;
  var next = -1;
  if (id < 0 || id >= word(24)) {
    b2[0] = 1; b2[1] = id; b2[2] = word(24);
    first = 0;
  } else {
    for (var j = 0; j < i; j++) {
      if (b0[base + j * word(5)] == id) { first = 0; break; }
    }
    for (var j = i + 1; j < length; j++) {
      if (b0[base + j * word(5)] == id) { next = j; break; }
    }
  }
  b1[2 * job] = first;
  b1[2 * job + 1] = next;
}
