// The API pages: `npm run docs` writes docs/api, a module for each of the package's paths. What is exported has to be
// documented, links have to lead somewhere, and what a signature names has to have a page.
import { readFileSync } from 'node:fs'
import { Application, ReflectionKind } from 'typedoc'

const { exports } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'))
const sources = Object.values(exports).flatMap((target) => target['evenfold-source'] ?? [])

/** Classes, functions and constants; the names of an interface's members and their own comments say what it is. */
const DOCUMENTED =
  ReflectionKind.Class | ReflectionKind.Function | ReflectionKind.Variable | ReflectionKind.TypeAlias

function exportsAreDocumented(app) {
  app.on(Application.EVENT_VALIDATE_PROJECT, (project) => {
    for (const one of project.getReflectionsByKind(DOCUMENTED)) {
      const isExported = one.parent?.kindOf(ReflectionKind.Module | ReflectionKind.Namespace)
      const isSaid = one.hasComment() || one.signatures?.every((signature) => signature.hasComment())
      if (isExported && !isSaid) app.logger.warn(`${one.getFriendlyFullName()} is exported without a comment`)
    }
  })
}

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  entryPoints: sources,
  out: 'docs/api',
  excludePrivate: true,
  excludeInternal: true,
  readme: 'none',
  plugin: [exportsAreDocumented],
  validation: { notExported: true, invalidLink: true },
  intentionallyNotExported: [
    // Parts of models, seen in their printed form and in state dicts only.
    'src/models/bert.ts:Embeddings',
    'src/models/bert.ts:BertLayer',
    'src/models/llama.ts:LlamaLayer',
    'src/models/tokens.ts:TokenLimits',
    // Short names of what the signature says anyway.
    'src/models/llama.ts:Sizes',
    'src/models/pretrained.ts:MODELS',
    'src/nn/generate.ts:Prompt',
    'src/nn/windows.ts:PerAxis',
    'src/io/safetensors.ts:Tensors',
    'src/autograd/gradcheck.ts:Fn',
    'src/tokenizers/train.ts:Texts',
    'src/testing/allclose.ts:MatcherResult',
    'src/optim/one-cycle.ts:CyclableGroup',
    'src/compress/prune/rules.ts:Constructor',
    'src/compress/distill/rows.ts:MaskOption',
    // The inside of expressions, of optimizers and of passes.
    'src/backend/expr.ts:ExprKind',
    'src/backend/expr.ts:ScalarType',
    'src/backend/program.ts:Program',
    'src/compress/prune/trace.ts:Entry',
    'src/compress/quantize/int8.ts:RowParams',
  ],
  treatWarningsAsErrors: true,
}
