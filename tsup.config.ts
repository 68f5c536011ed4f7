// The published build: ES modules and types. Entries come from package.json's `exports`, so each public path is
// named once. Shared code goes to chunks (a class is the same one from every entry), and `#platform` stays an
// import that Node or a bundler resolves at the user's side.
import { existsSync, readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

const manifest = JSON.parse(readFileSync('package.json', 'utf8'))

/** dist name -> source file, for every export. */
const entry: Record<string, string> = {}
for (const target of Object.values<Record<string, string> | string>(manifest.exports)) {
  if (typeof target === 'string') continue
  const source = target['evenfold-source']
  if (existsSync(source)) entry[target.default.replace(/^\.\/dist\/|\.js$/g, '')] = source
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
  dts: { entry },
  external: ['#platform', /^node:/],
  loader: { '.wgsl': 'text' },
})
