// The queue behind the backward pass and the trainers of subword vocabularies.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { PriorityQueue } from '../src/priority-queue'

it('gives back what a sorted list would, however pushes and pops are mixed', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: -5, max: 5 }))), (steps) => {
      const queue = new PriorityQueue<number>((a, b) => a > b)
      const sorted: number[] = []
      for (const step of steps) {
        if (step === null) {
          expect(queue.pop()).toBe(sorted.pop())
        } else {
          queue.push(step)
          sorted.push(step)
          sorted.sort((a, b) => a - b)
        }
      }
      for (const item of sorted.reverse()) expect(queue.pop()).toBe(item)
      expect(queue.pop()).toBeUndefined()
    }),
  )
})
