// Automatic differentiation beyond `backward`: functional transforms, checks and custom ops.

export { detectAnomaly } from './anomaly'
export { type BackwardOptions, gradients } from './backward'
export { checkpoint } from './checkpoint'
export { customOp, type CustomOp } from './custom'
export { grad, hvp, jacobian, valueAndGrad, vjp } from './functional'
export { gradcheck, type GradcheckOptions, gradgradcheck } from './gradcheck'
export { releaseSpent } from './tape'
