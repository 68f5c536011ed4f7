// Texts with their words marked by how much a model looked at them. Nothing rests on colour alone: the stronger the
// weight, the thicker the line below the word, and its number is the word's tooltip.

import { ArgumentError } from '../errors'
import { escapeText } from './text'

/** One model's reading of a text. */
export interface AttentionReading {
  /** The model. */
  by: string
  /** What it made of the text, e.g. `positive, probability 0.93`. */
  answer: string
  tokens: readonly string[]
  /** How much each token counted, at least 0. Colours are relative to the largest of the text. */
  weights: ArrayLike<number>
}

export interface AttentionText {
  /** Above the readings, e.g. what the text is in truth. */
  label: string
  readings: readonly AttentionReading[]
}

export function htmlAttention(texts: readonly AttentionText[]): string {
  const items = texts.map(({ label, readings }) => {
    const rows = readings.map((reading) => {
      const { by, answer } = reading
      return (
        `<div class="reading"><p class="by"><strong>${escapeText(by)}</strong> ` +
        `<span class="aside">${escapeText(answer)}</span></p><p class="words">${words(reading)}</p></div>`
      )
    })
    return `<li><p class="label">${escapeText(label)}</p>${rows.join('\n')}</li>`
  })
  const scale = [0, 0.25, 0.5, 0.75, 1].map((a) => `<span class="word" style="--a:${a}">&#160;</span>`)
  return (
    `<p class="aside scale">least ${scale.join('')} most; each word shows its weight when pointed at</p>` +
    `<ul class="texts">${items.join('\n')}</ul>`
  )
}

function words({ by, tokens, weights }: AttentionReading): string {
  if (tokens.length !== weights.length) {
    throw new ArgumentError(
      `htmlReport: '${by}' has ${weights.length} weights for ${tokens.length} tokens; expected one for each`,
    )
  }
  const values = Array.from(weights)
  const bad = values.find((weight) => !(weight >= 0 && Number.isFinite(weight)))
  if (bad !== undefined) {
    throw new ArgumentError(
      `htmlReport: '${by}' has a weight of ${bad}; expected finite numbers of at least 0`,
    )
  }
  const most = values.reduce((a, b) => Math.max(a, b), 0)
  return tokens
    .map((token, i) => {
      const share = most === 0 ? 0 : values[i]! / most
      const title = `weight ${values[i]!.toFixed(3)}`
      return `<span class="word" style="--a:${share.toFixed(3)}" title="${title}">${escapeText(token)}</span>`
    })
    .join(' ')
}
