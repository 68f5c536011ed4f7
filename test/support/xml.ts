// A strict reader of the small part of XML that drawings and pages use: anything that is not well-formed throws.

export interface XmlNode {
  name: string
  attributes: Readonly<Record<string, string>>
  children: readonly (XmlNode | string)[]
  /** The elements below, in order; those of a name, or all. */
  all(name?: string): XmlNode[]
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

export function parseXml(source: string): XmlNode {
  const forbidden = /(?![\t\n\r])\p{Cc}|\p{Surrogate}|[\ufffe\uffff]/u.exec(source)
  if (forbidden) throw new Error(`a forbidden character at ${forbidden.index}`)
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    const sticky = new RegExp(pattern.source, 'y')
    sticky.lastIndex = at
    const match = sticky.exec(source)
    if (match) at = sticky.lastIndex
    return match
  }
  const fail = (expected: string): never => {
    throw new Error(`expected ${expected} at ${at}: ${JSON.stringify(source.slice(at, at + 60))}`)
  }
  const decode = (text: string): string =>
    text.replace(/&(?:#(\d+)|(\w+));|&/g, (all, code?: string, name?: string) => {
      if (code !== undefined) return String.fromCodePoint(Number(code))
      return (name !== undefined && ENTITIES[name]) || fail(`an entity, got ${all}`)
    })
  const element = (): XmlNode => {
    const [, name] = take(/<([A-Za-z][\w:-]*)/) ?? fail('an element')
    const attributes: Record<string, string> = {}
    for (
      let m = take(/\s+([A-Za-z_][\w:.-]*)="([^"<]*)"/);
      m;
      m = take(/\s+([A-Za-z_][\w:.-]*)="([^"<]*)"/)
    ) {
      if (Object.hasOwn(attributes, m[1]!)) fail(`one attribute ${m[1]}`)
      attributes[m[1]!] = decode(m[2]!)
    }
    const children: (XmlNode | string)[] = []
    if (!take(/\s*\/>/)) {
      if (!take(/\s*>/)) fail('the end of a tag')
      while (!take(new RegExp(`</${name}\\s*>`))) {
        const text = take(/[^<]+/)
        if (text?.[0].includes(']]>')) fail('no ]]> in a text')
        children.push(text ? decode(text[0]) : element())
      }
    }
    const all = (wanted?: string): XmlNode[] =>
      children.flatMap((child) =>
        typeof child === 'string'
          ? []
          : [...(wanted === undefined || child.name === wanted ? [child] : []), ...child.all(wanted)],
      )
    return { name: name!, attributes, children, all: (wanted) => all(wanted) }
  }
  take(/\s*/)
  const root = element()
  take(/\s*/)
  if (at !== source.length) fail('the end')
  return {
    ...root,
    all: (name) => [...(name === undefined || root.name === name ? [root] : []), ...root.all(name)],
  }
}

/** All text below a node. */
export function textOf(node: XmlNode): string {
  return node.children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('')
}
