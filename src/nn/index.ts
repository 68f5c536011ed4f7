// torch.nn for evenfold: `import { nn } from 'evenfold'`.

import '../tensor/methods'

export { type Layer, Module, type StateDict } from './module'
export { Buffer, Parameter } from './parameter'
