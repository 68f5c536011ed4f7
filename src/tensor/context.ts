// Where we are in the user's model: the stack of module paths that `Module` maintains, quoted in errors
// and remembered by the tape.

const stack: string[] = []

export function enterModule(path: string): void {
  stack.push(path)
}

export function leaveModule(): void {
  stack.pop()
}

/** Path of the innermost module whose `forward` is running, or ''. */
export function modulePath(): string {
  return stack.length > 0 ? stack[stack.length - 1] : ''
}

/** ` (in encoder.rnn)` for error messages, or ''. */
export function inModule(): string {
  const path = modulePath()
  return path === '' ? '' : ` (in ${path})`
}
