// Distillation's losses: PyTorch's values and gradients on every device, published numbers, gradient checks, and what they
// refuse.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { compress } from 'evenfold'
import { gradcheck } from 'evenfold/testing'
import { describe, expect, it } from 'vitest'
import { checkGolden, describeDevices } from './support/devices'
import { type GoldenCase, loadGolden } from './support/golden'
import { expectRefused } from './support/refused'

const { softTargetLoss, distillationLoss, distilBertLoss, Hints, Regressor, pkdMatches } = compress
const { hiddenMse, hiddenCosine, attentionTransfer, attentionMse, fsp, pkd, embeddingMse } = compress

function cases(file: string, check: (golden: GoldenCase) => Promise<void>): void {
  it.each(loadGolden(file).map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) =>
    check(golden),
  )
}

type Inputs = Record<string, ef.Tensor>

describeDevices('distillation losses', (where) => {
  cases('softTargets', (golden) =>
    checkGolden(golden, where, ['student', 'teacher', 'mask'], null, ({ student, teacher, mask }) =>
      softTargetLoss(student, teacher, {
        ...(golden.options as unknown as compress.SoftTargetOptions),
        mask,
      }),
    ),
  )

  const hints: Record<string, (inputs: Inputs, options: object) => ef.Tensor> = {
    mse: ({ student, teacher, mask }) => hiddenMse(student, teacher, { mask }),
    cosine: ({ student, teacher, mask }) => hiddenCosine(student, teacher, { mask }),
    pkd: ({ student, teacher }) => pkd(student, teacher),
    attention: ({ student, teacher, mask }, options) =>
      attentionTransfer(student, teacher, { ...options, mask }),
    weights: ({ student, teacher, mask }, options) => attentionMse(student, teacher, { ...options, mask }),
    fsp: ({ student, studentNext, teacher, teacherNext, mask }) =>
      fsp([student, studentNext], [teacher, teacherNext], { mask }),
    embeddings: ({ a, b }) => embeddingMse(a, b),
  }
  cases('hints', (golden) => {
    const names = ['student', 'studentNext', 'teacher', 'teacherNext', 'a', 'b', 'mask']
    const hint = hints[golden.name.split('.')[0]!]!
    return checkGolden(golden, where, names, null, (inputs) => hint(inputs, golden.options))
  })

  cases('hintLayers', (golden) => {
    const layers = new Hints({ ...(golden.options as unknown as compress.HintsOptions), ...where })
    const names = golden.names().filter((name) => /^(student|teacher)\d$|^mask$/.test(name))
    return checkGolden(golden, where, names, layers, ({ mask, ...states }, m) => {
      const list = (who: string) => Object.entries(states).filter(([name]) => name.startsWith(who))
      const of = (who: string) => list(who).map(([, state]) => state)
      return m.forward(of('student'), of('teacher'), { mask }).add(states.student0!.sum().mul(0))
    })
  })

  cases('distilBertLoss', (golden) => {
    const names = ['logits', 'hidden', 'teacherLogits', 'teacherHidden', 'mask', 'labels']
    return checkGolden(golden, where, names, null, (t) => {
      const student = { logits: t.logits!, lastHiddenState: t.hidden! }
      const teacher = { logits: t.teacherLogits!, lastHiddenState: t.teacherHidden! }
      const options = { ...golden.options, attentionMask: t.mask! }
      return distilBertLoss(student, teacher, t.labels!, options).loss
    })
  })
})

const f64 = (values: ef.TensorValues, requiresGrad = false) =>
  ef.tensor(values, { dtype: 'float64', requiresGrad })

describe('published numbers', () => {
  const zs = () => f64([[1, 2, 0.5]], true)
  const zt = () => f64([[3, 1, -1]])
  const y = () => ef.tensor(Int32Array.of(0))
  const T = { temperature: 2 }

  it('of soft targets at temperature 2, with and without its square', async () => {
    const kl = { ...T, divergence: 'kl' } as const
    expect(await softTargetLoss(zs(), zt(), kl).item()).toBeCloseTo(0.2995853927, 10)
    const student = zs()
    const squared = softTargetLoss(student, zt(), { ...kl, temperatureSquared: true })
    expect(await squared.item()).toBeCloseTo(1.1983415709, 10)
    squared.backward()
    const gradient = await student.grad!.data()
    for (const [i, wanted] of [-0.7469699, 0.4725916, 0.2743784].entries())
      expect(gradient[i]).toBeCloseTo(wanted, 6)
    expect(await softTargetLoss(zs(), zt(), T).item()).toBeCloseTo(1.1319809746, 10)
  })

  it('of the weighted sum with the targets', async () => {
    const half = { ...T, alpha: 0.5, beta: 0.5 }
    const { loss, hard, soft } = distillationLoss(zs(), zt(), y(), half)
    expect(await hard!.item()).toBeCloseTo(1.4643687841, 10)
    expect(await soft.item()).toBeCloseTo(1.1319809746, 10)
    expect(await loss.item()).toBeCloseTo(1.2981748793, 10)
    const kl = { ...half, divergence: 'kl', temperatureSquared: true } as const
    expect(await distillationLoss(zs(), zt(), y(), kl).loss.item()).toBeCloseTo(1.3313551775, 10)
  })

  it('of cosine and of normalized embeddings', async () => {
    const [a, b] = [
      f64([
        [1, 2, 2],
        [0, 3, 4],
      ]),
      f64([
        [2, 1, 2],
        [0, 4, 3],
      ]),
    ]
    expect(await hiddenCosine(a, b).item()).toBeCloseTo(0.0755555556, 10)
    expect(await embeddingMse(a, b).item()).toBeCloseTo(0.0503703704, 10)
  })

  it('of the layers that patient distillation chooses', () => {
    const teachers = (...args: Parameters<typeof pkdMatches>) =>
      pkdMatches(...args).map(({ teacher }) => teacher)
    expect(teachers('skip', 12, 6)).toEqual([2, 4, 6, 8, 10])
    expect(teachers('last', 12, 6)).toEqual([7, 8, 9, 10, 11])
    expect(teachers('skip', 12, 3)).toEqual([4, 8])
    expect(pkdMatches('last', 12, 3)).toEqual([
      { student: 1, teacher: 10 },
      { student: 2, teacher: 11 },
    ])
  })
})

describe('any shapes and masks', () => {
  it('give what the definition says, row by row', async () => {
    const sizes = fc.record({
      rows: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
      classes: fc.integer({ min: 1, max: 6 }),
      seed: fc.nat(1000),
      temperature: fc.double({ min: 0.25, max: 8, noNaN: true }),
      kl: fc.boolean(),
      masked: fc.boolean(),
    })
    const softmax = (row: readonly number[], T: number) => {
      const exps = row.map((z) => Math.exp((z - Math.max(...row)) / T))
      const total = exps.reduce((a, b) => a + b)
      return exps.map((e) => e / total)
    }
    await fc.assert(
      fc.asyncProperty(sizes, async ({ rows, classes, seed, temperature, kl, masked }) => {
        ef.manualSeed(seed)
        const shape = [...rows, classes]
        const [student, teacher] = [0, 1].map(() => ef.randn(shape, { dtype: 'float64' }).mul(3))
        const mask = masked ? ef.rand(rows).lt(0.6) : null
        const [zs, zt] = [[...(await student!.data())], [...(await teacher!.data())]]
        const kept = mask ? [...(await mask.data())].map(Boolean) : new Array(zs.length / classes).fill(true)
        const losses = kept.map((counts, r) => {
          const of = (z: number[]) => softmax(z.slice(r * classes, (r + 1) * classes), temperature)
          const [p, q] = [of(zt), of(zs)]
          const terms = p.map((pi, c) => pi * ((kl ? Math.log(pi) : 0) - Math.log(q[c]!)))
          return counts ? terms.reduce((a, b) => a + b) : 0
        })
        const options = { temperature, mask, divergence: kl ? 'kl' : 'crossEntropy' } as const
        const each = softTargetLoss(student!, teacher!, { ...options, reduction: 'none' })
        expect(each.shape).toEqual(rows)
        for (const [r, loss] of [...(await each.data())].entries()) expect(loss).toBeCloseTo(losses[r]!, 9)
        const total = losses.reduce((a, b) => a + b)
        const mean = await softTargetLoss(student!, teacher!, options).item()
        const counted = kept.filter(Boolean).length
        if (counted === 0) expect(mean).toBeNaN()
        else expect(mean).toBeCloseTo(total / counted, 9)
      }),
      { numRuns: 60 },
    )
  })
})

describe('gradients', () => {
  const randn = (...shape: number[]) => ef.randn(shape, { dtype: 'float64' })
  const leaf = (...shape: number[]) => {
    const x = randn(...shape)
    x.requiresGrad = true
    return x
  }
  const mask = ef.tensor([
    [1, 1, 0],
    [1, 0, 0],
  ])

  it.each<[string, (x: ef.Tensor, teacher: ef.Tensor) => ef.Tensor]>([
    ['soft targets', (x, t) => softTargetLoss(x, t, { temperature: 3, mask, reduction: 'none' })],
    ['kl', (x, t) => softTargetLoss(x, t, { temperature: 0.5, divergence: 'kl', mask })],
    [
      'both',
      (x, t) => {
        const target = ef.tensor(Int32Array.of(0, 3, -100, 1, 2, -100), { shape: [2, 3] })
        const options = { alpha: 0.3, beta: 1.7, temperature: 2, mask, labelSmoothing: 0.1 }
        return distillationLoss(x, t, target, options).loss
      },
    ],
    ['mse', (x, t) => hiddenMse(x, t, { mask })],
    ['cosine', (x, t) => hiddenCosine(x, t, { mask })],
    ['attention', (x, t) => attentionTransfer(x, t, { mask, channelDim: -1 })],
    ['fsp', (x, t) => fsp([x, x.mul(2)], [t, t], { mask })],
    ['pkd', (x, t) => pkd(x, t)],
    ['embeddings', (x, t) => embeddingMse(x, t)],
  ])('of %s', async (_, loss) => {
    ef.manualSeed(5)
    const teacher = randn(2, 3, 4)
    expect(await gradcheck((x) => loss(x!, teacher), [leaf(2, 3, 4)])).toBe(true)
  })

  it('never reach the teacher, but for normalized embeddings', () => {
    const [student, teacher] = [leaf(2, 3, 4), leaf(2, 3, 4)]
    const soft = softTargetLoss(student, teacher, { temperature: 2 })
    const all = [soft, hiddenMse(student, teacher), hiddenCosine(student, teacher), pkd(student, teacher)]
    all.push(attentionTransfer(student, teacher), fsp([student, student], [teacher, teacher]))
    for (const loss of all) loss.backward({ retainGraph: true })
    expect(student.grad).not.toBeNull()
    expect(teacher.grad).toBeNull()
    embeddingMse(student, teacher).backward()
    expect(teacher.grad).not.toBeNull()
  })

  it('of vectors of zeros are finite', async () => {
    const zero = ef.zeros([1, 2, 4], { dtype: 'float64', requiresGrad: true })
    embeddingMse(zero, randn(1, 2, 4))
      .add(pkd(zero, randn(1, 2, 4)))
      .backward()
    expect([...(await zero.grad!.data())].every(Number.isFinite)).toBe(true)
  })
})

describe('hints', () => {
  it('at padding change nothing', async () => {
    ef.manualSeed(1)
    const mask = ef.tensor([[true, true, false]])
    const [student, teacher] = [ef.randn([1, 3, 4]), ef.randn([1, 3, 4])]
    const other = ef.where(mask.reshape([1, 3, 1]), student, 1e3)
    for (const hint of [hiddenMse, hiddenCosine]) {
      const [a, b] = [hint(student, teacher, { mask }), hint(other, teacher, { mask })]
      expect(await a.item()).toBe(await b.item())
    }
    const soft = (x: ef.Tensor) => softTargetLoss(x, teacher, { temperature: 2, mask })
    expect(await soft(student).item()).toBe(await soft(other).item())
  })

  it('learn regressors where widths differ, and only there', () => {
    const matches = [{ student: 1, teacher: 2 }]
    const keys = (options: Partial<compress.HintsOptions>) =>
      Object.keys(new Hints({ matches, studentSize: 3, teacherSize: 5, ...options }).stateDict())
    expect(keys({})).toEqual(['regressors.0.linear.weight', 'regressors.0.linear.bias'])
    expect(keys({ bias: false })).toEqual(['regressors.0.linear.weight'])
    expect(keys({ studentSize: 5 })).toEqual([])
    expect(keys({ studentSize: 5, alwaysRegress: true })).toHaveLength(2)
    expect(keys({ kind: 'attention' })).toEqual([])
  })

  it.each(['cosine', 'pkd', 'attention', 'fsp'] as const)(
    '%s of layers are the sum of their pairs',
    async (kind) => {
      ef.manualSeed(2)
      const states = () => Array.from({ length: 3 }, () => ef.randn([2, 3, 4]))
      const [own, its] = [states(), states()]
      const matches = [
        { student: 0, teacher: 1, weight: 2 },
        { student: 2, teacher: 2 },
      ]
      const layers = new Hints({ kind, matches, studentSize: 4, teacherSize: 4 })
      const pair = { cosine: hiddenCosine, pkd, attention: attentionTransfer, fsp: null }[kind]
      const options = kind === 'attention' ? { channelDim: -1 } : {}
      const wanted = pair
        ? pair(own[0]!, its[1]!, options)
            .mul(2)
            .add(pair(own[2]!, its[2]!, options))
        : fsp([own[0]!, own[2]!], [its[1]!, its[2]!]).mul(2)
      expect(await layers.forward(own, its).item()).toBeCloseTo(await wanted.item(), 6)
    },
  )
})

describe('bad input', () => {
  // Made once: a refused call may allocate nothing.
  const made = new Map<string, ef.Tensor>()
  const x = (...shape: number[]) => {
    const key = shape.join()
    if (!made.has(key)) made.set(key, ef.ones(shape))
    return made.get(key)!
  }
  const doubles = ef.ones([2, 3], { dtype: 'float64' })
  const integers = ef.ones([2, 3], { dtype: 'int32' })
  const [one, outside] = [Int32Array.of(0), Int32Array.of(0, 3)].map((ids) => ef.tensor(ids))
  const labels = ef.tensor(Int32Array.of(0, 0), { shape: [1, 2] })
  const soft =
    (options: object, teacher = x(2, 3)) =>
    () =>
      softTargetLoss(x(2, 3), teacher, { temperature: 1, ...options } as never)
  const target = ef.tensor(Int32Array.of(0, 1))
  const both =
    (options: object, of = target) =>
    () =>
      distillationLoss(x(2, 3), x(2, 3), of, { alpha: 1, beta: 1, temperature: 1, ...options } as never)
  const hints = (options: object) => () =>
    new Hints({ matches: [{ student: 0, teacher: 0 }], studentSize: 3, teacherSize: 3, ...options } as never)
  const states = { logits: x(1, 2, 3), lastHiddenState: x(1, 2, 4) }

  it.each<[string, () => unknown, typeof ef.EvenfoldError, string]>([
    [
      'T of 0',
      soft({ temperature: 0 }),
      ef.ArgumentError,
      'temperature is 0; expected a finite number above 0',
    ],
    ['T of NaN', soft({ temperature: Number.NaN }), ef.ArgumentError, 'temperature is NaN'],
    ['a missing T', soft({ temperature: undefined }), ef.ArgumentError, 'temperature is undefined'],
    [
      'other classes',
      soft({}, x(2, 4)),
      ef.ShapeError,
      'the student has 3 classes and the teacher 4; soft targets need one vocabulary',
    ],
    ['other texts', soft({}, x(3, 3)), ef.ShapeError, 'give both the same texts, padded alike'],
    ['other dtypes', soft({}, doubles), ef.DTypeError, "the student's are float32 and the teacher's float64"],
    ['ids for logits', soft({}, integers), ef.DTypeError, 'expected a float tensor, got int32'],
    [
      'a mask of another shape',
      soft({ mask: x(2, 3) }),
      ef.ShapeError,
      'mask has shape [2, 3]; expected [2]',
    ],
    ['an unknown reduction', soft({ reduction: 'average' }), ef.ArgumentError, "unknown reduction 'average'"],
    ['an unknown divergence', soft({ divergence: 'js' }), ef.ArgumentError, "unknown divergence 'js'"],
    ['an infinite weight', both({ alpha: Number.POSITIVE_INFINITY }), ef.ArgumentError, 'alpha is Infinity'],
    ['targets of another shape', both({}, one), ef.ShapeError, 'target has shape [1]'],
    ['a target outside the classes', both({}, outside), ef.IndexError, 'target 3 is out of range'],
    [
      'states of other widths',
      () => hiddenMse(x(2, 3), x(2, 5)),
      ef.ShapeError,
      'put a Regressor(3, 5) on the student',
    ],
    [
      'maps of other positions',
      () => attentionTransfer(x(1, 3, 4), x(1, 3, 5)),
      ef.ShapeError,
      'all axes but 1, the channels',
    ],
    [
      'channels on the batch axis',
      () => attentionTransfer(x(1, 3, 4), x(1, 3, 4), { channelDim: 0 }),
      ef.ArgumentError,
      'channelDim is 0',
    ],
    [
      'other numbers of heads',
      () => attentionMse(x(1, 2, 3, 3), x(1, 4, 3, 3)),
      ef.ShapeError,
      "other numbers of heads need heads: 'mean'",
    ],
    [
      'states of two batches',
      () => fsp([x(1, 2, 3), x(1, 3, 3)], [x(1, 2, 3), x(1, 3, 3)]),
      ef.ShapeError,
      'expected [N, T, A] and [N, T, B]',
    ],
    ['a state without vectors', () => pkd(x(3), x(3)), ef.ShapeError, 'expected [N, T, E] or [N, E]'],
    ['embeddings of other widths', () => embeddingMse(x(2, 3), x(2, 4)), ef.ShapeError, 'they must be equal'],
    ['no matches', hints({ matches: [] }), ef.ArgumentError, "0 matches; 'mse' needs at least 1"],
    ['one match for fsp', hints({ kind: 'fsp' }), ef.ArgumentError, "1 matches; 'fsp' needs at least 2"],
    [
      'a place below 0',
      hints({ matches: [{ student: -1, teacher: 0 }] }),
      ef.ArgumentError,
      'a match has student -1',
    ],
    [
      'a weight that is none',
      hints({ matches: [{ student: 0, teacher: 0, weight: Number.NaN }] }),
      ef.ArgumentError,
      'the weight of a match is NaN',
    ],
    ['an unknown kind', hints({ kind: 'nst' }), ef.ArgumentError, "unknown kind 'nst'"],
    [
      'a state that is not there',
      () => hints({ matches: [{ student: 0, teacher: 2 }] })().forward([x(1, 1, 3)], [x(1, 1, 3)]),
      ef.ShapeError,
      'there is no state 2 of the teacher (in Hints); it gave 1',
    ],
    [
      'an unknown activation',
      () => new Regressor(2, 3, { activation: 'elu' as never }),
      ef.ArgumentError,
      "unknown activation 'elu'",
    ],
    [
      'layers that do not divide',
      () => pkdMatches('skip', 12, 5),
      ef.ArgumentError,
      "5 layers do not divide the teacher's 12",
    ],
    [
      'a student deeper than its teacher',
      () => pkdMatches('last', 4, 6),
      ef.ArgumentError,
      'a student of 6 layers and a teacher of 4',
    ],
    [
      'labels of other texts',
      () => distilBertLoss(states, states, target),
      ef.ShapeError,
      'expected [B, T, V] and [B, T]',
    ],
    [
      'a teacher of another vocabulary',
      () => distilBertLoss(states, { ...states, logits: x(1, 2, 5) }, labels),
      ef.ShapeError,
      'one vocabulary for both',
    ],
  ])('%s', async (what, call, type, message) => {
    expect(call).toThrow(message)
    await expectRefused([what, call, type, /./])
  })
})
