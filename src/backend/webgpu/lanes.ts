// What 64 lanes of a workgroup found, combined into one value that all of them get: by a tree in workgroup memory, or
// where the adapter has subgroups within each of them first. The order is fixed by the device, so bits repeat.

import type { TemplateValues } from './template'

/** Builtins that `combineLanes` needs of a kernel's entry point with subgroups; put behind its other parameters. */
export const SUBGROUP_BUILTINS = `
  @builtin(subgroup_invocation_id) place: u32,
  @builtin(subgroup_size) width: u32,`

/** Template values of a kernel that combines lanes. */
export function laneValues(subgroups: boolean): TemplateValues {
  return { SUBGROUPS: subgroups, SUBGROUP_BUILTINS: subgroups ? SUBGROUP_BUILTINS : '' }
}

/**
 * WGSL that combines the lanes' values of the variable `value` by way of `lanes`, 64 words of workgroup memory, which may
 * be written again right after. `combine` gives the code for two values.
 *
 * Sizes of subgroups differ between devices, even between pipelines of one, and which invocations make one is theirs to
 * say: so each subgroup leaves its result at the place of its first invocation and nothing at the others', and then each
 * of them combines all 64.
 */
export function combineLanes(
  subgroups: boolean,
  value: string,
  lanes: string,
  identity: string,
  combine: (a: string, b: string) => string,
): string {
  if (!subgroups) {
    return `
  ${lanes}[lane] = ${value};
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) {
      let own = ${lanes}[lane];
      let other = ${lanes}[lane + half];
      ${lanes}[lane] = ${combine('own', 'other')};
    }
    workgroupBarrier();
  }
  ${value} = ${lanes}[0];
  workgroupBarrier();`
  }
  const butterfly = `
  for (var step = 1u; step < min(width, 64u); step <<= 1u) {
    let other = subgroupShuffleXor(${value}, step);
    ${value} = ${combine(value, 'other')};
  }`
  return `${butterfly}
  ${lanes}[lane] = select(${identity}, ${value}, place == 0u);
  workgroupBarrier();
  ${value} = ${identity};
  for (var k = place; k < 64u; k += width) {
    let other = ${lanes}[k];
    ${value} = ${combine(value, 'other')};
  }${butterfly}
  workgroupBarrier();`
}
