// The Distiller: a teacher's outputs beside the batches, live or from a cache, whatever stops and resumes it.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as ef from 'evenfold'
import { compress, data, models, nn, optim } from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeDevices } from './support/devices'

const { Distiller } = compress

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'evenfold-distill-'))
})
afterAll(() => rm(root, { recursive: true }))

let folders = 0
const newFolder = () => join(root, String(folders++))

const samples = Array.from({ length: 11 }, (_, i) => ({
  ids: Array.from({ length: 1 + ((i * 5) % 4) }, (_, t) => 1 + ((i + t) % 6)),
  label: i % 2,
}))
const loaderOf = (all = samples, options: data.DataLoaderOptions = {}) =>
  new data.DataLoader(all, { batchSize: 3, shuffle: true, seed: 1, ...options })

/** Per sample logits, and a vector for each token. */
class Teacher extends nn.Module {
  embedding: nn.Embedding
  dropout: nn.Dropout
  linear: nn.Linear
  calls = 0

  constructor(options: nn.LayerOptions = {}) {
    super()
    this.embedding = new nn.Embedding(7, 3, options)
    this.dropout = new nn.Dropout(0.5)
    this.linear = new nn.Linear(3, 2, options)
  }

  forward({ ids, mask }: data.Batch): { logits: ef.Tensor; states: ef.Tensor } {
    this.calls++
    const states = this.dropout.forward(this.embedding.forward(ids))
    const share = mask.to(states.dtype).unsqueeze(2)
    const logits = this.linear.forward(states.mul(share).sum(1).div(share.sum(1)))
    return { logits, states: states.mul(share) }
  }
}

function setup(cache?: Partial<compress.TeacherCacheOptions>, options?: nn.LayerOptions) {
  ef.manualSeed(7)
  const teacher = new Teacher(options)
  const perToken = ['states']
  const own = cache && { folder: newFolder(), perToken, samplesPerFile: 4, ...cache }
  const distiller = new Distiller({
    loader: loaderOf(),
    ...{ teacher, outputs: (batch: data.Batch) => teacher.forward(batch) },
    ...(own && { cache: own }),
  })
  return { teacher, distiller, folder: own?.folder ?? '' }
}

/** Every file below a folder, by its path there. */
const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort()

/** One epoch: for each sample its logits and its tokens' states, without padding. */
async function epochOf(distiller: compress.Distiller<{ logits: ef.Tensor; states: ef.Tensor }>) {
  const found: { logits: number[]; states: number[] }[] = []
  for await (const { host, teacher } of distiller) {
    const [B, L] = host.shape
    expect(teacher.logits.shape).toEqual([B, 2])
    expect(teacher.states.shape).toEqual([B, L, 3])
    const logits = [...(await teacher.logits.data())]
    const states = [...(await teacher.states.data())]
    for (const [row, index] of host.indices.entries()) {
      const own = states.slice(row * L * 3, (row + 1) * L * 3)
      const length = host.lengths[row]! * 3
      expect(own.slice(length).every((x) => x === 0)).toBe(true)
      found[index] = { logits: logits.slice(2 * row, 2 * row + 2), states: own.slice(0, length) }
    }
  }
  return found
}

describeDevices('a Distiller', ({ device, dtype }) => {
  it('gives what the teacher says in evaluation mode, live or from the cache, in any order', async () => {
    const options = { device, dtype }
    const { teacher, distiller } = setup({}, options)
    const live = await epochOf(setup(undefined, options).distiller)
    const first = await epochOf(distiller)
    const second = await epochOf(distiller)
    expect(first).toHaveLength(samples.length)
    expect(second).toEqual(first)
    // Padding differs between the two, and with it the last bits.
    for (const [i, { logits, states }] of live.entries()) {
      expect(states).toEqual(first[i]!.states)
      for (const [k, logit] of logits.entries()) expect(logit).toBeCloseTo(first[i]!.logits[k]!, 5)
    }
    // Parts of 4, 4 and 3 samples in batches of 3.
    expect(teacher.calls).toBe(5)
    expect(teacher.training).toBe(true)
    expect(teacher.dropout.training).toBe(true)
  })

  it('frees what it makes, and records nothing', async () => {
    const { teacher, distiller } = setup(undefined, { device, dtype })
    const before = ef.memory()[device].tensors
    for await (const batch of distiller) expect(batch.teacher.logits.requiresGrad).toBe(false)
    const { distiller: cached } = setup({}, { device, dtype })
    const between = ef.memory()[device].tensors
    for await (const batch of cached) if (batch.host.shape[0] < 3) break
    expect(ef.memory()[device].tensors - between).toBe(0)
    expect(between - before).toBe(teacher.parameters().length)
  })
})

describe('a cache', () => {
  it('is read by another process, without the teacher running', async () => {
    const { distiller, folder } = setup({})
    const first = await epochOf(distiller)
    const files = filesOf(folder)
    expect(files.map((name) => name.split('/').at(-1))).toEqual(
      [0, 1, 2].map((i) => `part-0000${i}.safetensors`),
    )
    const again = setup({ folder })
    expect(await epochOf(again.distiller)).toEqual(first)
    expect(again.teacher.calls).toBe(0)
    expect(filesOf(folder)).toEqual(files)
  })

  it('that was interrupted goes on after its last part, with the same bytes', async () => {
    const whole = setup({})
    await whole.distiller.prepare()
    const stopped = setup({})
    const progress: number[] = []
    const stop = new AbortController()
    const onProgress = ({ samples: done }: { samples: number }) => {
      progress.push(done)
      stop.abort()
    }
    expect(await stopped.distiller.prepare({ onProgress, signal: stop.signal })).toBe(false)
    expect(progress).toEqual([4])
    expect(filesOf(stopped.folder)).toHaveLength(1)
    // An error within a part leaves nothing of it.
    const failing = setup({ folder: stopped.folder })
    const { forward } = failing.teacher
    failing.teacher.forward = (batch) => {
      if (failing.teacher.calls === 1) throw new Error('power cut')
      return forward(batch)
    }
    await expect(failing.distiller.prepare()).rejects.toThrow('power cut')
    expect(filesOf(stopped.folder)).toHaveLength(1)
    const rest = setup({ folder: stopped.folder })
    expect(await rest.distiller.prepare({ onProgress: ({ samples: done }) => progress.push(done) })).toBe(
      true,
    )
    expect(progress).toEqual([4, 4, 8, 11])
    expect(rest.teacher.calls).toBe(3)
    const bytesOf = (folder: string) =>
      Promise.all(filesOf(folder).map((name) => readFile(join(folder, name))))
    expect(filesOf(stopped.folder)).toEqual(filesOf(whole.folder))
    expect(await bytesOf(stopped.folder)).toEqual(await bytesOf(whole.folder))
  })

  it('belongs to its teacher, key, sizes and outputs', async () => {
    const { distiller, teacher, folder } = setup({})
    await distiller.prepare()
    const other = async (cache: object, options: Partial<compress.DistillerOptions<never>> = {}) => {
      const outputs = (batch: data.Batch) => teacher.forward(batch)
      const loader = loaderOf()
      const given = {
        loader,
        teacher,
        outputs,
        cache: { folder, perToken: ['states'], samplesPerFile: 4, ...cache },
      }
      await new Distiller({ ...given, ...options } as never).prepare()
      return readdirSync(folder).length
    }
    expect(await other({})).toBe(1)
    expect(await other({ key: 'another tokenizer' })).toBe(2)
    expect(await other({ samplesPerFile: 5 })).toBe(3)
    expect(await other({ key: 'and another' })).toBe(4)
    expect(
      await other({}, {
        outputs: (batch: data.Batch) => ({ logits: teacher.forward(batch).logits }),
        cache: { folder },
      } as never),
    ).toBe(5)
    expect(await other({}, { loader: loaderOf(samples.slice(1)) })).toBe(6)
    ef.noGrad(() => teacher.linear.bias!.fill_(0.125))
    expect(await other({})).toBe(7)
    expect(await other({})).toBe(7)
  })

  it("takes batches to the student's device, wherever the teacher is", async () => {
    for (const device of ['webgpu', 'cpu'] as const) await ef.init({ device })
    const { teacher, folder, distiller } = setup({})
    const wanted = await epochOf(distiller)
    const outputs = (batch: data.Batch) => teacher.forward(batch)
    const options = { loader: loaderOf(), teacher, outputs, device: 'webgpu' } as const
    const cache = { folder, perToken: ['states'], samplesPerFile: 4 }
    expect(await epochOf(new Distiller({ ...options, cache }))).toEqual(wanted)
    for await (const batch of new Distiller({ ...options, cache })) {
      expect([batch.ids.device, batch.teacher.logits.device]).toEqual(['webgpu', 'webgpu'])
    }
    expect(() => new Distiller(options)).toThrow(
      "the teacher is on 'cpu' and the batches are to be on 'webgpu'",
    )
  })

  it('of other samples is refused, naming the first', async () => {
    const { distiller, teacher, folder } = setup({})
    await distiller.prepare()
    const changed = samples.map((sample, i) =>
      i === 6 ? { ...sample, ids: [...sample.ids].reverse() } : sample,
    )
    for (const loader of [
      loaderOf(changed, { shuffle: false }),
      loaderOf(samples, { shuffle: false, maxLength: 3 }),
    ]) {
      const outputs = (batch: data.Batch) => teacher.forward(batch)
      const cache = { folder, perToken: ['states'], samplesPerFile: 4 }
      const run = async () => {
        for await (const batch of new Distiller({ loader, teacher, outputs, cache }))
          expect(batch).toBeTruthy()
      }
      const error = await run().catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(ef.FormatError)
      expect((error as Error).message).toMatch(/sample \d has other tokens than the teacher saw/)
    }
  })

  it('that is damaged is refused, naming the file', async () => {
    const { distiller, folder } = setup({})
    await distiller.prepare()
    const name = join(folder, filesOf(folder)[0]!)
    await writeFile(name, (await readFile(name)).subarray(0, 60))
    const again = setup({ folder })
    await expect(epochOf(again.distiller)).rejects.toThrow(ef.FormatError)
    await expect(epochOf(again.distiller)).rejects.toThrow('part-00000.safetensors')
  })
})

describe('a training with a cached teacher', () => {
  function start(folder: string, wait: number, watch: (child: ChildProcess) => void = () => {}) {
    const script = resolve(import.meta.dirname, 'fixtures/distill-run.ts')
    const args = ['--conditions=evenfold-source', '--import', 'tsx', script, folder, String(wait)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    watch(child)
    return new Promise<{ code: number | null; signal: string | null; stdout: string }>((done) =>
      child.on('close', (code, signal) => done({ code, signal, stdout })),
    )
  }

  it('goes on after kills, within the cache or the steps, bit for bit', async () => {
    const whole = await start(newFolder(), 0)
    expect(whole.code).toBe(0)
    const folder = newFolder()
    /** Kills when a condition on the folder holds. */
    const killWhen = (holds: () => boolean) => (child: ChildProcess) => {
      const timer = setInterval(() => {
        if (!holds()) return
        clearInterval(timer)
        child.kill('SIGKILL')
      }, 5)
      child.on('close', () => clearInterval(timer))
    }
    const parts = () => (existsSync(join(folder, 'teacher')) ? filesOf(join(folder, 'teacher')).length : 0)
    const first = await start(
      folder,
      60,
      killWhen(() => parts() >= 2),
    )
    expect(first.signal).toBe('SIGKILL')
    expect(parts()).toBeLessThan(5)
    const second = await start(
      folder,
      60,
      killWhen(() => existsSync(join(folder, 'checkpoint.safetensors'))),
    )
    expect(second.signal).toBe('SIGKILL')
    const third = await start(folder, 0)
    expect(third).toEqual(whole)
  }, 300_000)
})

describe('a student', () => {
  it("learns its teacher's answers, and its states as DistilBERT does", async () => {
    ef.manualSeed(4)
    const config = models.parseBertConfig({
      ...{ architectures: ['BertForMaskedLM'], model_type: 'bert', vocab_size: 12, hidden_size: 8 },
      ...{ num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 16, max_position_embeddings: 8 },
      ...{ initializer_range: 0.3, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
    })
    const teacher = new models.BertForMaskedLM(config)
    const student = compress.studentFrom(teacher, [0, 2], { architecture: 'distilbert' })
    const optimizer = new optim.AdamW(student.parameters(), { lr: 0.01 })
    const collate = data.maskedLM({
      maskId: 3,
      vocabularySize: 12,
      specialIds: [0, 1, 2, 3],
      probability: 0.4,
    })
    const texts = Array.from({ length: 8 }, (_, i) => ({
      ids: [1, ...Array.from({ length: 2 + (i % 4) }, (_, t) => 4 + ((3 * i + t) % 8)), 2],
      label: -1,
    }))
    const softs: number[] = []
    for (let step = 0; step < 40; step++) {
      for await (const host of new data.DataLoader(texts, { batchSize: 8 })) {
        const masked = collate(host, step)
        const of = (values: Int32Array | Uint8Array) =>
          ef.tensor(values, { shape: host.shape, dtype: 'int32' })
        const [ids, attentionMask, labels] = [of(masked.ids), of(masked.mask), of(masked.labels)]
        const run = (model: models.BertForMaskedLM) => {
          const { logits, hiddenStates } = model.forward(ids, { attentionMask, outputHiddenStates: true })
          return { logits, lastHiddenState: hiddenStates!.at(-1)! }
        }
        const its = compress.runTeacher(teacher, () => run(teacher))
        expect(its.logits.requiresGrad).toBe(false)
        const { loss, soft } = compress.distilBertLoss(run(student), its, labels, {
          attentionMask,
          alphaMaskedLM: 0.1,
        })
        optimizer.zeroGrad()
        loss.backward()
        optimizer.step()
        softs.push(await soft.item())
      }
    }
    expect(teacher.training).toBe(true)
    const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b) / numbers.length
    expect(mean(softs.slice(-5))).toBeLessThan(mean(softs.slice(0, 5)) / 2)
  })
})

describe('bad input', () => {
  const outputsOf = (outputs: (batch: data.Batch) => unknown, cache?: object) => async () => {
    const teacher = new Teacher()
    const options = {
      loader: loaderOf(),
      teacher,
      outputs,
      ...(cache && { cache: { folder: newFolder(), ...cache } }),
    }
    for await (const batch of new Distiller(options as never)) expect(batch).toBeTruthy()
  }

  it.each<[string, () => Promise<void>, typeof ef.EvenfoldError, string]>([
    ['no outputs', outputsOf(() => ({})), ef.ArgumentError, 'outputs gave nothing; expected named tensors'],
    [
      'a number',
      outputsOf(() => ({ loss: 1 })),
      ef.ArgumentError,
      "the teacher's 'loss' is 1; expected a tensor",
    ],
    ['a promise', outputsOf(() => ({ x: Promise.resolve() })), ef.ArgumentError, "'x' is a promise"],
    ['ids', outputsOf(({ ids }) => ({ ids: ids.add(1) })), ef.DTypeError, "'ids' is int32; expected floats"],
    [
      'a mean over the batch',
      outputsOf(() => ({ mean: ef.ones([2]) })),
      ef.ShapeError,
      "'mean' has shape [2]; expected [3, …]",
    ],
    [
      'tokens that are none',
      outputsOf(() => ({ x: ef.ones([3, 9]) }), { perToken: ['x'] }),
      ef.ShapeError,
      "'x' has shape [3, 9]; expected [3, ",
    ],
    [
      'an unknown name',
      outputsOf(({ ids }) => ({ x: ef.ones(ids.shape) }), { perToken: ['y'] }),
      ef.ArgumentError,
      "expected 'y' too, which is in cache.perToken",
    ],
    [
      'rows of padded tokens',
      outputsOf(({ ids }) => ({ x: ef.ones(ids.shape) }), {}),
      ef.ShapeError,
      'name it in cache.perToken if it has a row for each token',
    ],
    [
      'a teacher that is not finite',
      outputsOf(
        ({ host }) => ({ x: ef.tensor(Float32Array.from(host.indices, (i) => (i === 5 ? Number.NaN : 1))) }),
        {},
      ),
      ef.NonFiniteError,
      "the teacher's 'x' is NaN for sample 5",
    ],
    [
      'a teacher of a smaller vocabulary',
      outputsOf(({ ids }) => ({ x: new nn.Embedding(3, 2).forward(ids) })),
      ef.IndexError,
      'out of range',
    ],
    [
      'parts of nothing',
      outputsOf(() => ({}), { samplesPerFile: 0 }),
      ef.ArgumentError,
      'cache.samplesPerFile is 0',
    ],
    [
      'a folder without a name',
      outputsOf(() => ({}), { folder: '' }),
      ef.ArgumentError,
      'cache.folder is empty',
    ],
  ])('%s', async (_, run, type, message) => {
    const error = await run().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(type)
    expect((error as Error).message).toContain(message)
  })
})

describe('students', () => {
  const json = {
    ...{
      architectures: ['BertForMaskedLM'],
      model_type: 'bert',
      vocab_size: 11,
      hidden_size: 4,
      num_hidden_layers: 4,
    },
    ...{ num_attention_heads: 2, intermediate_size: 6, max_position_embeddings: 5, type_vocab_size: 2 },
  }
  const config = models.parseBertConfig(json)
  const ids = ef.tensor(Int32Array.of(1, 2, 3, 4, 5, 6), { shape: [2, 3] })
  const bitsOf = async (t: ef.Tensor) => [...(await t.data())]

  it('are the kept layers between the embeddings and the head', async () => {
    ef.manualSeed(1)
    const teacher = new models.BertForMaskedLM(config, { dtype: 'float64' }).eval()
    const student = compress.studentFrom(teacher, [0, 3])
    expect(student).toBeInstanceOf(models.BertForMaskedLM)
    expect(student.config.numLayers).toBe(2)
    expect(student.training).toBe(true)
    // The teacher without its other layers is the same function.
    const expected = new models.BertForMaskedLM(config, { dtype: 'float64' }).eval()
    expected.loadStateDict(teacher.stateDict())
    expected.bert.layers.splice(1, 2)
    student.eval()
    expect(await bitsOf(student.forward(ids).logits)).toEqual(await bitsOf(expected.forward(ids).logits))
    // In tensors of their own.
    ef.noGrad(() => student.decoderBias.fill_(9))
    expect(await bitsOf(teacher.decoderBias)).not.toContain(9)
    expect(compress.passesOf(student)).toMatchObject([{ pass: 'studentFrom', options: { keep: [0, 3] } }])
  })

  it('of a base model keep its pooler, or its absence', () => {
    for (const pooler of [true, false]) {
      const student = compress.studentFrom(new models.BertModel(config, { pooler }), [1])
      expect(student.pooler !== null).toBe(pooler)
    }
    const classifier = compress.studentFrom(new models.BertForSequenceClassification(config), [1, 2])
    expect(classifier.bert.layers).toHaveLength(2)
  })

  it('become DistilBERT, whose parameters number 66,362,880', async () => {
    const base = models.parseBertConfig({
      ...json,
      vocab_size: 30522,
      hidden_size: 768,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      intermediate_size: 3072,
      max_position_embeddings: 512,
    })
    const own = compress.studentConfig(base, compress.DISTILBERT_LAYERS.length, {
      architecture: 'distilbert',
    })
    expect(models.countBertParameters(own, 'DistilBertModel')).toBe(66_362_880)
    ef.manualSeed(2)
    const teacher = new models.BertForMaskedLM(config).eval()
    const student = compress.studentFrom(teacher, [0, 2], { architecture: 'distilbert' }).eval()
    expect(student).toBeInstanceOf(models.DistilBertForMaskedLM)
    // DistilBERT has no token types: where the teacher's are 0 the two say the same.
    ef.noGrad(() => teacher.bert.embeddings.tokenTypeEmbeddings!.weight.fill_(0))
    teacher.bert.layers.splice(3, 1)
    teacher.bert.layers.splice(1, 1)
    expect(await bitsOf(student.forward(ids).logits)).toEqual(await bitsOf(teacher.forward(ids).logits))
    const bare = compress.studentFrom(new models.BertModel(config), [3], { architecture: 'distilbert' })
    expect(bare).toBeInstanceOf(models.DistilBertModel)
  })

  it('of a pruned teacher are copies of it with fewer layers, whose file says how they came about', async () => {
    ef.manualSeed(6)
    const teacher = new models.BertForMaskedLM(config)
    await compress.removeHeads(teacher, { amount: { fraction: 0.5 } })
    const fresh = () => new models.BertForMaskedLM(config)
    const student = await compress.loadModel(await compress.modelToBytes(teacher), fresh())
    await compress.removeLayers(student, { list: 'bert.encoder.layer', keep: [0, 2] })
    expect(student.bert.layers[1]!.query.weight.shape).toEqual([2, 4])
    const distiller = new Distiller({
      ...{ loader: loaderOf(), teacher },
      outputs: ({ ids: tokens, mask }) => ({
        logits: teacher.forward(tokens, { attentionMask: mask }).logits,
      }),
      cache: { folder: newFolder(), perToken: ['logits'] },
    })
    const optimizer = new optim.AdamW(student.parameters())
    for await (const { ids: tokens, mask, teacher: its } of distiller) {
      const { logits } = student.forward(tokens, { attentionMask: mask })
      const loss = compress.softTargetLoss(logits, its.logits, { temperature: 2, mask })
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
    }
    await distiller.record(student, { temperature: 2 })
    const loaded = await compress.loadModel(await compress.modelToBytes(student), fresh())
    expect(compress.passesOf(loaded).map(({ pass }) => pass)).toEqual([
      'removeHeads',
      'removeLayers',
      'distill',
    ])
    expect(compress.passesOf(loaded)[2]).toMatchObject({
      options: { teacher: 'BertForMaskedLM', samples: samples.length, temperature: 2 },
    })
    loaded.eval()
    student.eval()
    expect(await bitsOf(loaded.forward(ids).logits)).toEqual(await bitsOf(student.forward(ids).logits))
  })

  it('of any model take the state of the layers they keep', async () => {
    ef.manualSeed(3)
    const layer = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, dropout: 0 })
    const teacher = new nn.TransformerEncoder(layer, 3)
    for (const parameter of teacher.parameters()) nn.init.normal_(parameter)
    const student = new nn.TransformerEncoder(layer, 2)
    student.loadStateDict(compress.keepLayers(teacher.stateDict(), 'layers', [1, 2]))
    const x = ef.randn([3, 2, 4])
    const wanted = teacher.layers[2]!.forward(teacher.layers[1]!.forward(x))
    expect(await bitsOf(student.forward(x))).toEqual(await bitsOf(wanted))
    const list = new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU(), new nn.Linear(2, 2))
    expect(Object.keys(compress.keepLayers(list.stateDict(), '', [2]))).toEqual(['0.weight', '0.bias'])
  })

  it.each<[string, () => unknown, string]>([
    [
      'no layers',
      () => compress.studentFrom(new models.BertModel(config), []),
      "keep is []; expected layers of the teacher's 4",
    ],
    [
      'a layer that is not there',
      () => compress.studentFrom(new models.BertModel(config), [0, 4]),
      'from 0 to 3',
    ],
    ['layers out of order', () => compress.studentFrom(new models.BertModel(config), [2, 1]), 'ascending'],
    ['a layer twice', () => compress.studentFrom(new models.BertModel(config), [1, 1]), 'ascending'],
    [
      'a classifier of another head',
      () =>
        compress.studentFrom(new models.BertForSequenceClassification(config) as never, [1], {
          architecture: 'distilbert',
        }),
      "make the student from its 'bert'",
    ],
    [
      'another path',
      () => compress.keepLayers(new nn.Linear(2, 2).stateDict(), 'layers', [0]),
      "no key starts with 'layers.0.'; the state has weight, bias",
    ],
  ])('refuse %s', (_, make, message) => {
    expect(make).toThrow(ef.ArgumentError)
    expect(make).toThrow(message)
  })
})
