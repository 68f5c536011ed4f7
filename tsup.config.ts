// The published build: ES modules; scripts/declarations.ts adds the types. Entries come from package.json's `exports`,
// so each public path is named once. Shared code goes to chunks (a class is the same one from every entry), and
// `#platform` stays an import that Node or a bundler resolves at the user's side.
import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

const manifest = JSON.parse(readFileSync('package.json', 'utf8'))

/** dist name -> source file, for every export. */
const entry: Record<string, string> = {}
for (const target of Object.values<Record<string, string> | string>(manifest.exports)) {
  if (typeof target === 'string') continue
  entry[target.default.replace(/^\.\/dist\/|\.js$/g, '')] = target['evenfold-source']
}

export default defineConfig({
  entry: {
    ...entry,
    'platform/node': 'src/platform/node.ts',
    'platform/browser': 'src/platform/browser.ts',
  },
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  splitting: true,
  sourcemap: true,
  clean: true,
  external: ['#platform', /^node:/],
  loader: { '.wgsl': 'text' },
})
