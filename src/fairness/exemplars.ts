// Compression-identified exemplars: the rows that compression answers otherwise. Hooker, Courville, Clark, Dauphin and Frome,
// "What do compressed deep neural networks forget?" (2019), compare populations of models trained from several seeds.

import { ArgumentError } from '../errors'
import { checkAnswers, checkLength, classesOf, compareLabels, type Label } from './rows'
import { welch, type WelchTest } from './statistics/welch'

/** What several models answered to the same rows. */
export type Population = readonly ArrayLike<Label>[]

function checkPopulation(name: string, population: Population, size: number | undefined): void {
  if (population.length === 0)
    throw new ArgumentError(`${name}: expected the answers of at least one model, got none`)
  population.forEach((answers, i) => {
    checkLength(`${name}[${i}]`, answers, size ?? population[0]!.length, 'the first')
  })
}

/** The commonest answer to a row; of equally common ones the largest, as in the authors' code. */
function modal(population: Population, row: number): Label {
  if (population.length === 1) return population[0]![row]!
  const counts = new Map<Label, number>()
  for (const answers of population) counts.set(answers[row]!, (counts.get(answers[row]!) ?? 0) + 1)
  let best: [Label, number] | undefined
  for (const [label, count] of counts) {
    if (!best || count > best[1] || (count === best[1] && compareLabels(label, best[0]) > 0))
      best = [label, count]
  }
  return best![0]
}

/** A row whose commonest answer changed. */
export interface ModalExemplar {
  row: number
  before: Label
  after: Label
}

/**
 * Rows whose modal (commonest) answer differs between two populations of models; with one model on each side, the rows that
 * flipped. Ties go to the largest label.
 * @throws ArgumentError for an empty population; ShapeError for answers to other rows.
 */
export function modalExemplars(base: Population, compressed: Population): ModalExemplar[] {
  checkPopulation('base', base, undefined)
  checkPopulation('compressed', compressed, base[0]!.length)
  const found: ModalExemplar[] = []
  for (let row = 0; row < base[0]!.length; row++) {
    const before = modal(base, row)
    const after = modal(compressed, row)
    if (before !== after) found.push({ row, before, after })
  }
  return found
}

/** A row and how far its answers moved. */
export interface TaxicabExemplar {
  row: number
  /** From 0 (the same shares of answers) to 2 (no answer in common). */
  distance: number
}

/**
 * Every row by the taxicab (L1) distance between the two populations' shares of answers, farthest first (ties: lower row).
 * @throws as modalExemplars.
 */
export function taxicabExemplars(base: Population, compressed: Population): TaxicabExemplar[] {
  checkPopulation('base', base, undefined)
  checkPopulation('compressed', compressed, base[0]!.length)
  const found = Array.from({ length: base[0]!.length }, (_, row) => {
    const shares = new Map<Label, number>()
    for (const answers of base) shares.set(answers[row]!, (shares.get(answers[row]!) ?? 0) + 1 / base.length)
    for (const answers of compressed)
      shares.set(answers[row]!, (shares.get(answers[row]!) ?? 0) - 1 / compressed.length)
    return { row, distance: [...shares.values()].reduce((sum, share) => sum + Math.abs(share), 0) }
  })
  return found.sort((a, b) => b.distance - a.distance || a.row - b.row)
}

/** A class, and what compression did to its recall beyond what it did to all rows. */
export interface ClassShift extends WelchTest {
  label: Label
  /** Mean over models of the class's recall minus the model's accuracy, before and after. */
  before: number
  after: number
}

/**
 * Per class Welch's test of recall, each model's accuracy subtracted, between two populations: which classes lost more (or
 * less) than the rest? Adjust the p-values (`holm`) over the classes. Classes without a row are not tested.
 * @throws ArgumentError for fewer than two models on a side; ShapeError for answers to other rows.
 */
export function classShifts(
  labels: ArrayLike<Label>,
  base: Population,
  compressed: Population,
): ClassShift[] {
  for (const [name, population] of Object.entries({ base, compressed })) {
    if (population.length < 2)
      throw new ArgumentError(`classShifts: ${name} has ${population.length} models; a spread needs 2`)
    for (const answers of population) checkAnswers(labels, answers)
  }
  return classesOf(labels).map((label) => {
    const relative = (population: Population) =>
      population.map((answers) => {
        let right = 0
        let own = 0
        let ownRight = 0
        for (let i = 0; i < labels.length; i++) {
          const hit = answers[i] === labels[i] ? 1 : 0
          right += hit
          if (labels[i] !== label) continue
          own++
          ownRight += hit
        }
        return ownRight / own - right / labels.length
      })
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    const before = relative(base)
    const after = relative(compressed)
    return { label, before: mean(before), after: mean(after), ...welch(after, before) }
  })
}
