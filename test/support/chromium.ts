// A real headless Chromium with WebGPU for the browser tests, from npm alone (`@sparticuz/chromium`).
//
// A page comes from a small server on 127.0.0.1, since WebGPU and workers want a proper origin. Its script is a
// TypeScript entry bundled by Vite just as a user's page would be: the browser side of `#platform`, and `webgpu`
// (the Node package) never resolved.
import fs from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { build, defaultClientConditions } from 'vite'
import { unpackOnce } from './unpack'
import { wgslAsText } from './wgsl'

const flags = [
  '--headless',
  '--no-sandbox',
  '--no-zygote',
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan',
  '--use-webgpu-adapter=swiftshader',
  '--use-vulkan=swiftshader',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
]

/** A bundled page: what the server serves, by path. */
export type Site = Map<string, string | Uint8Array>

const ownSource = {
  root: fileURLToPath(new URL('../..', import.meta.url)),
  conditions: ['evenfold-source', ...defaultClientConditions],
  minify: false,
}

/**
 * Bundles a TypeScript entry (a path from the root) with Vite into a site with one page. A script that says
 * `new Worker(new URL('./w.ts', import.meta.url), { type: 'module' })` gets its worker bundled along. The library is the
 * project's source; a root of another folder takes the one that is installed there.
 */
export async function bundlePage(entry: string, { root, conditions, minify } = ownSource): Promise<Site> {
  const page = 'virtual-page.html'
  const result = await build({
    root,
    configFile: false,
    logLevel: 'error',
    resolve: { conditions },
    worker: { format: 'es', plugins: () => [wgslAsText()] },
    plugins: [
      wgslAsText(),
      {
        name: 'page-in-memory',
        resolveId: (id) => (id.endsWith(page) ? path.join(root, page) : null),
        load: (id) =>
          id.endsWith(page)
            ? `<!doctype html><meta charset="utf-8"><script type="module" src="/${entry}"></script>`
            : null,
      },
    ],
    build: { write: false, minify, target: 'es2022', rollupOptions: { input: path.join(root, page) } },
  })
  const outputs = (Array.isArray(result) ? result : [result]).flatMap((one) =>
    'output' in one ? one.output : [],
  )
  return new Map(
    outputs.map((file) => [
      `/${file.fileName === page ? '' : file.fileName}`,
      file.type === 'chunk' ? file.code : file.source,
    ]),
  )
}

/** The files of a folder as a site. */
export function siteFromFolder(folder: string): Site {
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return new Map(
    files
      .filter((name) => fs.statSync(path.join(folder, name)).isFile())
      .map((name) => [
        `/${name === 'index.html' ? '' : name.split(path.sep).join('/')}`,
        fs.readFileSync(path.join(folder, name)),
      ]),
  )
}

/**
 * Serves `site`, each file with `headers`, opens it in Chromium, runs `use` on the page and cleans up. An error that the
 * page does not handle fails the call. Once in some sixty launches the page's adapter is null: then a second browser is
 * started.
 */
export async function withPage<T>(
  site: Site,
  use: (page: Page) => Promise<T>,
  headers: Readonly<Record<string, string>> = {},
): Promise<T> {
  const server = await serve(site, headers)
  try {
    for (let attempt = 0; ; attempt++) {
      const browser = await launch()
      try {
        const page = await browser.newPage()
        const errors: string[] = []
        page.on('pageerror', (error) => errors.push(String(error)))
        await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
        const hasAdapter = await page.evaluate(async () => (await navigator.gpu?.requestAdapter()) != null)
        if (!hasAdapter && attempt === 0) continue
        if (!hasAdapter) throw new Error('Chromium gives no WebGPU adapter, twice in a row.')
        const result = await use(page)
        if (errors.length > 0) throw new Error(`The page threw: ${errors.join('; ')}`)
        return result
      } finally {
        await browser.close()
      }
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

async function launch(): Promise<Browser> {
  const folder = unpackOnce('chromium', [
    'chromium.br',
    'swiftshader.tar.br',
    'al2023.tar.br',
    'fonts.tar.br',
  ])
  return chromium.launch({
    executablePath: path.join(folder, 'chromium'),
    args: flags,
    // Beside the browser lie the libraries (nss, expat) that a bare container lacks.
    env: {
      ...process.env,
      LD_LIBRARY_PATH: folder,
      VK_ICD_FILENAMES: path.join(folder, 'vk_swiftshader_icd.json'),
    },
  })
}

async function serve(site: Site, headers: Readonly<Record<string, string>>): Promise<Server> {
  const types: Record<string, string> = {
    '.js': 'text/javascript',
    '.css': 'text/css',
    '.json': 'application/json',
  }
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? '/', 'http://localhost').pathname
    const body = site.get(name)
    const type = name === '/' ? 'text/html' : (types[path.extname(name)] ?? 'application/octet-stream')
    if (body === undefined) return void response.writeHead(404).end()
    response.writeHead(200, { ...headers, 'content-type': type }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
