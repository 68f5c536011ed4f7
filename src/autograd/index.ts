// Automatic differentiation beyond `backward`: functional transforms, checks and custom ops.

export { detectAnomaly } from './anomaly'
export { type BackwardOptions, gradients } from './backward'
export { customOp, type CustomOp } from './custom'
export { grad, valueAndGrad, vjp } from './functional'
export { gradcheck, type GradcheckOptions, gradgradcheck } from './gradcheck'
export { releaseSpent } from './tape'
