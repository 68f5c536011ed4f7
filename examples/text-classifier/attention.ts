// Words with how much the model looked at each: bars, and shades of colour in a terminal.

export function printAttention(
  words: readonly string[],
  weights: readonly number[],
  isKnown: (word: string) => boolean,
): void {
  const most = Math.max(...weights, 1e-9)
  const width = Math.max(...words.map((word) => word.length), 0)
  words.forEach((word, i) => {
    const bar = '█'.repeat(Math.round((20 * weights[i]) / most))
    const note = isKnown(word) ? '' : '  (unknown word)'
    console.log(`  ${word.padEnd(width)} ${weights[i].toFixed(3)} ${bar}${note}`)
  })
  if (process.stdout.isTTY) {
    // 24 steps of grey behind each word, from the 256 colours.
    const shade = (weight: number) => 232 + Math.round((14 * weight) / most)
    console.log(`  ${words.map((word, i) => `\x1b[97;48;5;${shade(weights[i])}m ${word} \x1b[0m`).join('')}`)
  }
}
