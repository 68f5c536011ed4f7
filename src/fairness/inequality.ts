// Inequality of benefits, as economists measure it: one number for individuals and groups together. After Speicher et al.,
// "A unified approach to quantifying algorithmic unfairness", KDD 2018.

import { ArgumentError } from '../errors'
import type { GroupColumn } from './groups'
import { partitionsOf } from './groups'
import type { Measure } from './measure'
import { checkAnswers, classesOf, type Label, positiveOf } from './rows'

/**
 * What each row gained: 1 + ŷ - y, that is 2 for an undeserved positive, 1 for a right answer, 0 for a missed positive.
 * @throws ArgumentError or ShapeError for columns that do not fit.
 */
export function benefits(
  labels: ArrayLike<Label>,
  predictions: ArrayLike<Label>,
  positive?: Label,
): Float64Array {
  checkAnswers(labels, predictions)
  const good = positiveOf(classesOf(labels, predictions), positive)
  return Float64Array.from(
    { length: labels.length },
    (_, i) => 1 + Number(predictions[i] === good) - Number(labels[i] === good),
  )
}

/** How an index of inequality is computed. */
export interface EntropyOptions {
  /** Weight of the distant: 0 (mean log deviation), 1 (Theil) or any other number. Default 2. */
  alpha?: number
  /** AIF360's numbers: for alpha 0 it divides by the mean once more, and a coefficient of variation is 2 √index. */
  compat?: 'aif360'
}

/**
 * The generalized entropy index of benefits b with mean μ: mean((b/μ)^α - 1) / (α (α - 1)), with its limits at α = 0 and 1.
 * 0 is equality. Undefined where all benefits are 0, and at α = 0 where one is.
 * @throws ArgumentError for no benefits, or one that is negative or not finite.
 */
export function generalizedEntropy(values: ArrayLike<number>, options: EntropyOptions = {}): Measure {
  const { alpha = 2, compat } = options
  const n = values.length
  if (n === 0) throw new ArgumentError('generalizedEntropy: no benefits; expected at least one')
  if (!Number.isFinite(alpha))
    throw new ArgumentError(`generalizedEntropy: alpha is ${alpha}; expected a finite number`)
  let mean = 0
  for (let i = 0; i < n; i++) {
    if (!(values[i]! >= 0 && Number.isFinite(values[i]))) {
      throw new ArgumentError(
        `generalizedEntropy: benefit ${i} is ${values[i]}; expected finite numbers of at least 0`,
      )
    }
    mean += values[i]! / n
  }
  if (mean === 0) return { n, reason: 'all benefits are 0: nothing is shared' }
  let sum = 0
  for (let i = 0; i < n; i++) {
    const share = values[i]! / mean
    if (alpha === 1) sum += share > 0 ? share * Math.log(share) : 0
    else if (alpha === 0) sum -= Math.log(share) / (compat ? mean : 1)
    else sum += (share ** alpha - 1) / (alpha * (alpha - 1))
  }
  if (sum === Infinity && !compat)
    return { n, reason: `a benefit is 0: no index with alpha ${alpha}; choose one above 0` }
  return { value: sum / n, n }
}

/** Theil's index: the generalized entropy index with α = 1. */
export function theil(values: ArrayLike<number>): Measure {
  return generalizedEntropy(values, { alpha: 1 })
}

/** Coefficient of variation, √(2 · index at α = 2): standard deviation over mean. AIF360 gives 2 √index instead. */
export function coefficientOfVariation(
  values: ArrayLike<number>,
  options: Pick<EntropyOptions, 'compat'> = {},
): Measure {
  const index = generalizedEntropy(values, options)
  if (index.value === undefined) return index
  return { ...index, value: options.compat ? 2 * Math.sqrt(index.value) : Math.sqrt(2 * index.value) }
}

/**
 * The part of {@link generalizedEntropy} that lies between groups: that of rows which each have their group's mean benefit.
 * @throws as generalizedEntropy; ShapeError for columns of another length.
 */
export function betweenGroupEntropy(
  values: ArrayLike<number>,
  groups: Record<string, GroupColumn>,
  options: EntropyOptions = {},
): Measure {
  const partition = partitionsOf(groups, values.length)[0]
  if (!partition) throw new ArgumentError('groups: expected at least one sensitive column')
  const means = partition.groups.map(
    ({ rows }) => rows.reduce((sum, row) => sum + values[row]!, 0) / rows.length,
  )
  return generalizedEntropy(
    Float64Array.from(partition.codes, (code) => means[code]!),
    options,
  )
}
