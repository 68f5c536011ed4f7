// Made-up reviews, so that the example needs no download. They are not read off a list of good and bad words: praise
// is negated ("not bad"), outweighed ("..., but ..."), strengthened, quoted from others who are wrong, and
// surrounded by what says nothing. Some labels are wrong, as people's are. The test reviews use combinations of
// product, frame and adjective that no training review has.

import type { Review } from '../common/texts'

const PRODUCTS: Record<string, readonly string[]> = {
  novel: ['plot', 'ending', 'heroine', 'prose', 'first chapter'],
  film: ['acting', 'soundtrack', 'script', 'camera work', 'finale'],
  kettle: ['lid', 'handle', 'switch', 'spout', 'cable'],
  phone: ['screen', 'battery', 'speaker', 'camera', 'keyboard'],
  jacket: ['zip', 'lining', 'colour', 'fit', 'hood'],
  restaurant: ['soup', 'service', 'bread', 'menu', 'dessert'],
  hotel: ['bed', 'view', 'breakfast', 'shower', 'reception'],
  headphones: ['sound', 'bass', 'cushion', 'microphone', 'case'],
}
const GOOD =
  'great good lovely solid charming superb pleasant reliable delightful clever fine impressive'.split(' ')
const BAD = 'awful bad dreadful flimsy boring poor clumsy useless annoying dull disappointing ugly'.split(' ')
const STRONG = ['very', 'really', 'truly', 'remarkably', 'utterly']
const WEAK = ['somewhat', 'fairly', 'a little', 'rather']
const ASIDES = [
  'i bought it in {month} for my {relative}',
  'it came in a plain brown box',
  'i had been looking for a {product} since {month}',
  'my {relative} picked it',
  'this is the second one i have tried',
  'we went there with my {relative}',
  'i do not write many reviews',
  'the price is what one would expect',
]
const MONTHS = ['january', 'march', 'may', 'july', 'october', 'december']
const RELATIVES = ['sister', 'father', 'neighbour', 'wife', 'son', 'grandmother']

/** Opinions about an aspect: `mood` is the adjective's, `sign` what the frame makes of it, `weight` how much it counts. */
const FRAMES: readonly { text: string; sign: 1 | -1; weight: number }[] = [
  { text: 'the {aspect} is {adjective}', sign: 1, weight: 2 },
  { text: 'the {aspect} is {strong} {adjective}', sign: 1, weight: 4 },
  { text: 'the {aspect} is {weak} {adjective}', sign: 1, weight: 1 },
  { text: 'what a {adjective} {aspect}', sign: 1, weight: 3 },
  { text: 'i found the {aspect} {adjective}', sign: 1, weight: 2 },
  { text: 'the {aspect} is not {adjective}', sign: -1, weight: 2 },
  { text: 'the {aspect} is anything but {adjective}', sign: -1, weight: 3 },
  { text: 'nobody could call the {aspect} {adjective}', sign: -1, weight: 2 },
  { text: 'there is nothing {adjective} about the {aspect}', sign: -1, weight: 3 },
  { text: 'my {relative} says the {aspect} is {adjective} , and is wrong', sign: -1, weight: 2 },
  { text: 'i expected a {adjective} {aspect} and was mistaken', sign: -1, weight: 2 },
]
/** The first frames say what they mean; the share of opinions that do. */
const PLAIN_FRAMES = FRAMES.filter(({ sign }) => sign === 1).length
const PLAIN = 0.7

/** How two opinions meet: `first` and `second` are how much each counts then. */
const JOINTS: readonly { text: string; first: number; second: number }[] = [
  { text: '{1} , and {2}', first: 1, second: 1 },
  { text: '{1} . {2}', first: 1, second: 1 },
  { text: '{1} , but {2}', first: 0.2, second: 1 },
  { text: 'although {1} , {2}', first: 0.2, second: 1 },
  { text: '{1} , even though {2}', first: 1, second: 0.2 },
  { text: '{1} , which makes up for it that {2}', first: 1, second: 0.2 },
]

/** Mulberry32 (T. Ettinger, public domain): 32 bits of state, the same numbers everywhere. */
function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Share of labels that are wrong. */
const NOISE = 0.04
/** One combination in so many is left to the test reviews. */
const HELD_OUT = 5

/** `train` and `test` reviews; `seed` decides everything. */
export function syntheticReviews(options: { train: number; test: number; seed?: number }): {
  train: Review[]
  test: Review[]
} {
  const random = generator(options.seed ?? 0)
  const below = (n: number) => Math.floor(random() * n)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]

  const fill = (text: string, more: Record<string, string>): string => {
    const words: Record<string, string> = {
      strong: pick(STRONG),
      weak: pick(WEAK),
      month: pick(MONTHS),
      relative: pick(RELATIVES),
      ...more,
    }
    return text.replace(/\{(\w+)\}/g, (_, key: string) => words[key])
  }

  /** An opinion, and how it counts. Only test reviews have one in five combinations of product, frame and adjective. */
  const opinion = (
    products: readonly string[],
    product: string,
    test: boolean,
  ): { text: string; score: number } => {
    for (;;) {
      const mood = random() < 0.5 ? 1 : -1
      const frame =
        random() < PLAIN ? below(PLAIN_FRAMES) : PLAIN_FRAMES + below(FRAMES.length - PLAIN_FRAMES)
      const adjective = below(GOOD.length)
      const heldOut =
        (products.indexOf(product) + 3 * frame + 7 * adjective + (mood > 0 ? 1 : 0)) % HELD_OUT === 0
      if (heldOut !== test) continue
      const { text, sign, weight } = FRAMES[frame]
      const word = (mood > 0 ? GOOD : BAD)[adjective]
      return {
        text: fill(text, { aspect: pick(PRODUCTS[product]), adjective: word }),
        score: mood * sign * weight,
      }
    }
  }

  const review = (test: boolean): Review => {
    const products = Object.keys(PRODUCTS)
    const product = pick(products)
    let { text, score } = opinion(products, product, test)
    if (random() < 0.65) {
      const other = opinion(products, product, test)
      const joint = pick(JOINTS)
      text = joint.text.replace('{1}', text).replace('{2}', other.text)
      score = joint.first * score + joint.second * other.score
    }
    if (score === 0) return review(test)
    for (const before of [true, false]) {
      if (random() < 0.45) {
        const aside = fill(pick(ASIDES), { product })
        text = before ? `${aside} . ${text}` : `${text} . ${aside}`
      }
    }
    const right = score > 0 ? 1 : 0
    return { text: `${text} .`, label: random() < NOISE ? 1 - right : right }
  }

  return {
    train: Array.from({ length: options.train }, () => review(false)),
    test: Array.from({ length: options.test }, () => review(true)),
  }
}
