// The colours of charts and reports, in light and in dark.

/** Colours of one scheme, each `#rrggbb` and no two the same within it (dark ones are chosen by their light twin). */
export interface Scheme {
  background: string
  text: string
  /** Axes and what is said aside. */
  muted: string
  grid: string
  series: readonly string[]
  /** From little to much; an even number. */
  ramp: readonly string[]
  /** Text on the second half of the ramp; `text` does on the first. */
  onStrong: string
}

/**
 * The eight colours that stay apart for colour-blind eyes; in the dark scheme black is white, and blue lighter.
 * M. Okabe and K. Ito, "Color Universal Design: how to make figures and presentations that are friendly to colorblind
 * people", 2008. The strong ones first.
 */
const OKABE_ITO = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#f0e442']

export const LIGHT: Scheme = {
  background: '#ffffff',
  text: '#1f2328',
  muted: '#59636e',
  grid: '#e1e4e8',
  series: OKABE_ITO,
  ramp: ['#f2f7fc', '#dbe9f6', '#bcd6ee', '#94bfe2', '#3a78b4', '#2a649f', '#184f8a', '#0b3a70'],
  onStrong: '#fdfdfd',
}

export const DARK: Scheme = {
  background: '#16191d',
  text: '#f0f3f6',
  muted: '#a3adb8',
  grid: '#31373e',
  series: OKABE_ITO.map((colour) => ({ '#000000': '#fffffe', '#0072b2': '#1e88cc' })[colour] ?? colour),
  ramp: ['#1c242d', '#1f3347', '#234564', '#275a85', '#5f9fd8', '#86baea', '#b0d4f6', '#dcecfc'],
  onStrong: '#0d1116',
}

/** [light, dark] of every colour that differs. */
export function twins(): [light: string, dark: string][] {
  const flat = ({ series, ramp, ...rest }: Scheme): string[] => [...Object.values(rest), ...series, ...ramp]
  const dark = flat(DARK)
  return flat(LIGHT)
    .map((light, i): [string, string] => [light, dark[i]!])
    .filter(([light, other]) => light !== other)
}
