// The original's defect, kept behind an option: its zeroGrad stood outside the step loop, so each step's gradient was
// added to those of all steps before it.

import * as ef from 'evenfold'
import { optim } from 'evenfold'

type State = ReturnType<optim.AdamW['stateDict']>

/** AdamW whose gradients are never dropped; they are part of its state, or a resumed run would forget them. */
export class AccumulatingAdamW extends optim.AdamW {
  override zeroGrad(): void {}

  override stateDict(): State & { gradients: Record<string, ef.Tensor> } {
    const gradients = this.#params().flatMap((p, i) => (p.grad ? [[i, p.grad] as const] : []))
    return { ...super.stateDict(), gradients: Object.fromEntries(gradients) }
  }

  override loadStateDict(saved: State & { gradients?: Record<string, ef.Tensor> }): void {
    super.loadStateDict(saved)
    this.#params().forEach((p, i) => {
      const stored = saved.gradients?.[i]
      p.grad?.dispose()
      p.grad = stored ? ef.noGrad(() => stored.clone()) : null
    })
  }

  #params(): ef.Tensor[] {
    return this.groups.flatMap((group) => group.params)
  }
}
