// What the docs test stands on: pages are read rightly, no block is left out, and another output is noticed.
import { describe, expect, it } from 'vitest'
import { parsePage } from './markdown'
import { outputDifference } from './output'
import { projectOf } from './project'

const text = `# Title: a \`b\`

See [the guide](docs/guide.md#part) and \`src/index.ts\`, not \`[this](x.md)\`.

    npm ci
    npm test

1. An item

   \`\`\`ts file=a.ts
   const a = 1
     + 2
   \`\`\`

    still the item

~~~text output
\`\`\`
~~~
`

it('finds fenced and indented blocks with their lines, and nothing within lists or code', () => {
  const page = parsePage('x.md', text)
  expect(page.blocks).toEqual([
    { line: 5, language: 'sh', info: '', code: 'npm ci\nnpm test\n' },
    { line: 11, language: 'ts', info: 'file=a.ts', code: 'const a = 1\n  + 2\n' },
    { line: 18, language: 'text', info: 'output', code: '```\n' },
  ])
})

it('finds links, headings and code in the text', () => {
  const page = parsePage('x.md', text)
  expect(page.links).toEqual([{ line: 3, target: 'docs/guide.md#part' }])
  expect([...page.anchors]).toEqual(['title-a-b'])
  expect(page.spans.map(({ code }) => code)).toEqual(['b', 'src/index.ts', '[this](x.md)'])
})

it('says where a block has no end', () => {
  expect(() => parsePage('x.md', 'a\n```ts\nlet x\n')).toThrow('x.md:2')
})

const project = (text: string) => projectOf(parsePage('x.md', text), '/tmp')
const fence = (info: string, code = '1') => `\`\`\`${info}\n${code}\n\`\`\`\n`

describe('a page as a project', () => {
  it('joins what continues a script, each line at its own place in the page', () => {
    const { files, runnables } = project(
      `${fence('ts', 'a')}text\n${fence('ts continue', 'b')}${fence('ts', 'c')}`,
    )
    expect(runnables.map(({ file }) => file)).toEqual(['line-2.ts', 'line-9.ts'])
    expect(files.get('line-2.ts')!.split('\n')).toEqual(['', 'a', '', '', '', 'b', ''])
  })

  it('runs a file unless another one of the page names it', () => {
    const text = fence('ts file=a.ts', "import './b.js'") + fence('ts file=b.ts') + fence('ts file=c.test.ts')
    expect(project(text).runnables.map(({ kind, file }) => `${kind} ${file}`)).toEqual([
      'script a.ts',
      'test c.test.ts',
    ])
  })

  it('knows what the page says to install', () => {
    expect(project('    npm install evenfold vite && npm start\n\nwith `npm i -D @a/b`\n').installs).toEqual([
      'vite',
      '@a/b',
    ])
  })

  it.each(['python', 'python unexecuted:', 'rust', 'html', 'json', 'ts continue', 'text output'])(
    'refuses a block of %s that nothing would check',
    (info) => {
      expect(() => project(fence(info))).toThrow('x.md:2')
    },
  )

  it('takes Python with a reason', () => {
    expect(project(fence('python unexecuted: no Python here')).runnables).toEqual([])
  })
})

describe('outputs', () => {
  it.each([
    ['step 5  loss 0.123', 'step 5  loss 0.124'],
    ['a\n…\nz', 'a\nb\nc\nz'],
    ['a\n…', 'a\nb'],
    ['1.2e-3', '1.21e-3'],
  ])('%j is %j', (expected, actual) => {
    expect(outputDifference(expected, actual)).toBeNull()
  })

  it.each([
    ['step 5  loss 0.123', 'step 6  loss 0.123'],
    ['loss 0.50', 'loss 0.53'],
    ['loss 0.50', 'loss 1'],
    ['a', 'a\nb'],
    ['a\nb', 'a'],
    ['a\n…\nz', 'a\nb'],
    ['loss 0.5', 'loss NaN'],
  ])('%j is not %j', (expected, actual) => {
    expect(outputDifference(expected, actual)).toEqual(expect.any(String))
  })
})
