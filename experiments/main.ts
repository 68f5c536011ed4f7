// `npm run experiment -- NAME ...`: the experiment's own command line follows its name.

const experiments: Readonly<Record<string, () => Promise<unknown>>> = {
  'sequence-models': () => import('./sequence-models/main'),
}

const [chosen = ''] = process.argv.splice(2, 1)
if (Object.hasOwn(experiments, chosen)) await experiments[chosen]()
else {
  console.error(`there is no experiment '${chosen}'; expected one of: ${Object.keys(experiments).join(', ')}`)
  process.exitCode = 2
}

export {}
