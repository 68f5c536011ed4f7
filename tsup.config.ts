// The published build: an ES module for each file of src/; scripts/declarations.ts adds the types beside them.
//
// Files stay apart, so that a user's bundler can leave out each one that nothing is taken from (`sideEffects: false`);
// in larger chunks whatever runs at load, such as `new Program(…)`, would keep all that it names. `#platform` stays an
// import that Node or a bundler resolves at the user's side.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { defineConfig, type Options } from 'tsup'

type Plugin = NonNullable<Options['esbuildPlugins']>[number]

/** `./autograd` becomes `./autograd/index.js`: Node and browsers want the whole name. */
const filesApart: Plugin = {
  name: 'files-apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\./ }, ({ path: specifier, resolveDir, kind }) => {
      if (kind === 'entry-point' || specifier.endsWith('.wgsl')) return null
      const isFile = existsSync(`${path.resolve(resolveDir, specifier)}.ts`)
      return { path: `${specifier}${isFile ? '' : '/index'}.js`, external: true }
    })
  },
}

/** Shaders travel without their comments and indentation; what starts with `//#` is the template's own. */
const smallShaders: Plugin = {
  name: 'small-shaders',
  setup({ onLoad }) {
    onLoad({ filter: /\.wgsl$/ }, async ({ path: file }) => {
      const lines = (await readFile(file, 'utf8')).split('\n')
      const code = lines.map((line) => line.replace(/\s*\/\/(?!#).*/, '').replace(/^\s+/, ' '))
      return { contents: code.filter((line) => line.trim() !== '').join('\n'), loader: 'text' }
    })
  },
}

export default defineConfig({
  entry: ['src/**/*.ts', '!src/**/*.d.ts'],
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  splitting: false,
  sourcemap: true,
  clean: true,
  external: ['#platform', /^node:/],
  esbuildPlugins: [filesApart, smallShaders],
})
