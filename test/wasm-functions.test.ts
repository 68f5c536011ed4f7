// The vectorised functions with the instructions that every engine has.
import { describeWasmFunctions } from './support/wasm-functions'

describeWasmFunctions('without FMA')
