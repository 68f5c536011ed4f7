// How reports look. Colours are variables that change with the reader's scheme; the charts bring the same ones.

import { DARK, LIGHT, type Scheme } from './palette'

/** What the charts do not need: the page behind the cards, and the marked words' colour as `r g b`. */
const PAGE = {
  light: { page: '#f4f6f8', accent: '0 114 178' },
  dark: { page: '#0c0e11', accent: '30 136 204' },
}

function variables({ background, text, muted, grid }: Scheme, { page, accent }: typeof PAGE.light): string {
  return `--page:${page};--surface:${background};--text:${text};--muted:${muted};--line:${grid};--accent:${accent}`
}

export function styleSheet(): string {
  return `
:root{color-scheme:light dark;${variables(LIGHT, PAGE.light)}}
@media (prefers-color-scheme:dark){:root{${variables(DARK, PAGE.dark)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:break-word}
main{max-width:76rem;margin:0 auto;padding:2.5rem 1rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.2rem;margin:0 0 .75rem}
p{max-width:70ch;margin:0 0 .75rem}
header{margin:0 0 2rem}
.summary{font-size:1.1rem;color:var(--muted);margin:0}
section{background:var(--surface);border:1px solid var(--line);border-radius:.6rem;padding:1.25rem 1.5rem;margin:0 0 1.25rem}
section>:last-child{margin-bottom:0}
.aside{color:var(--muted);font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;min-width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.5rem 1.25rem .5rem 0;border-bottom:1px solid var(--line)}
thead th{color:var(--muted);font-weight:600;font-size:.9rem;white-space:nowrap}
tbody tr:last-child>*{border-bottom:0}
.number{text-align:right;white-space:nowrap}
.interval{display:block;position:relative;height:.35rem;min-width:8rem;margin-top:.3rem;border-radius:.2rem;background:var(--line)}
.interval::before{content:"";position:absolute;top:0;bottom:0;left:var(--low);right:calc(100% - var(--high));border-radius:.2rem;background:rgb(var(--accent)/.6)}
.interval::after{content:"";position:absolute;top:-.15rem;bottom:-.15rem;left:calc(var(--at) - 1px);width:2px;background:var(--text)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr));gap:1rem}
figure{margin:0}
figure svg{display:block;width:100%;min-width:30rem;max-width:60rem;height:auto}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.75rem 1.5rem;margin:0}
dt{color:var(--muted);font-size:.9rem}
dd{margin:0;font-variant-numeric:tabular-nums}
.texts{list-style:none;margin:0;padding:0}
.texts>li{border-top:1px solid var(--line);padding:1rem 0 .5rem}
.label{font-weight:600}
.by{margin:0}
.words{line-height:2.1;max-width:none}
.word{padding:.1rem .25rem;border-radius:.2rem .2rem 0 0;background:rgb(var(--accent)/calc(var(--a)*.5));box-shadow:inset 0 calc(var(--a)*-4px) rgb(var(--accent))}
.scale .word{padding:.1rem .7rem}
@media print{section{break-inside:avoid;border:0;padding:0}}
`
}
