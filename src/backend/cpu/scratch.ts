// The scratch memory of the block interpreter: every register is a stretch of one float64 array.
//
// One array that never changes, rather than an array per register, because V8 then compiles its address and
// length into the loops as constants (measured: 1.4 to 2 times faster). For that to work each module binds it to a
// top-level `const` of its own: `const R = REGISTERS`.

/** Elements of a register. */
export const BLOCK = 1024

/** How many whole registers there are; programs that need more are run in shorter blocks. */
export const REGISTER_COUNT = 64

/** Position of one more block, in which a reduction collects its results. */
export const RESULTS = REGISTER_COUNT * BLOCK

export const REGISTERS = new Float64Array(RESULTS + BLOCK)
