// A Vite plugin: `import source from './kernel.wgsl'` gives the file's text, as the published build does.
import { readFileSync } from 'node:fs'
import type { Plugin } from 'vite'

export function wgslAsText(): Plugin {
  return {
    name: 'wgsl-as-text',
    enforce: 'pre',
    load(id) {
      const file = id.split('?')[0]!
      if (!file.endsWith('.wgsl')) return null
      return `export default ${JSON.stringify(readFileSync(file, 'utf8'))}`
    },
  }
}
