// Turns a file of shaders/ into the source of one kernel. Three things happen, in this order:
//
//   //#if NAME … //#else … //#end   lines are kept where the value NAME is true (blocks do not nest);
//   {{NAME}}                        becomes the value NAME, which must be given;
//   calls of ef_…                   the functions of prelude.wgsl that are called are put in front, with those they call;
//                                   lines that enable a feature stay the first ones.
//
// Static choices only (dtypes, rank, which buffers coincide): whatever changes from call to call is uniform data.

import prelude from '../../../shaders/prelude.wgsl'
import { EvenfoldError } from '../../errors'

export type TemplateValues = Readonly<Record<string, string | number | boolean>>

/** The WGSL of one kernel. Throws if the template asks for a value that is not given. */
export function specialise(template: string, values: TemplateValues): string {
  const valueNamed = (name: string): string | number | boolean => {
    const value = values[name]
    if (value === undefined) throw new EvenfoldError(`shader template: no value for ${name}`)
    return value
  }
  const lines: string[] = []
  let keep = true
  for (const line of template.split('\n')) {
    const directive = /^\s*\/\/#(if|else|end)\s*(\w*)/.exec(line)
    if (!directive) {
      if (keep) lines.push(line)
    } else if (directive[1] === 'if') keep = valueNamed(directive[2]) === true
    else keep = directive[1] === 'end' || !keep
  }
  const body = lines.join('\n').replace(/\{\{(\w+)\}\}/g, (_, name: string) => String(valueNamed(name)))
  const enabled = body.match(/^enable .*\n/gm) ?? []
  return `${enabled.join('')}${calledFunctions(body)}\n${body.replace(/^enable .*\n/gm, '')}`
}

let library: Map<string, string> | null = null

/** The functions of the prelude by name. */
function functions(): Map<string, string> {
  if (library) return library
  library = new Map()
  let name = ''
  for (const line of prelude.split('\n')) {
    const start = /^fn (ef_\w+)/.exec(line)
    if (start) name = start[1]
    if (!name) continue
    library.set(name, `${library.get(name) ?? ''}${line}\n`)
    // A function ends with its own line, or with a brace in the first column.
    if (start ? line.endsWith('}') : line.startsWith('}')) name = ''
  }
  return library
}

function calledFunctions(body: string): string {
  const called = new Set<string>()
  const queue = [body]
  for (let text = queue.pop(); text !== undefined; text = queue.pop()) {
    for (const [name] of text.matchAll(/\bef_\w+/g)) {
      if (called.has(name)) continue
      const source = functions().get(name)
      if (source === undefined) throw new EvenfoldError(`shader template: prelude.wgsl has no ${name}`)
      called.add(name)
      queue.push(source)
    }
  }
  return [...functions()]
    .filter(([name]) => called.has(name))
    .map(([, source]) => source)
    .join('')
}
