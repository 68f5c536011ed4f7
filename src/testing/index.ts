// `evenfold/testing`: the tools this library is tested with, for people who test ops and modules of their own.

export { gradcheck, type GradcheckOptions, gradgradcheck } from '../autograd/gradcheck'
export { allclose, type AllcloseMatchers, type AllcloseOptions, matchers } from './allclose'
export {
  broadcastableShapes,
  type Broadcast,
  type BroadcastOptions,
  type ShapeOptions,
  shapes,
  type TensorArbitraryOptions,
  tensors,
} from './arbitraries'
export { type ArbitraryModule, type ModuleArbitraryOptions, modules } from './modules'
