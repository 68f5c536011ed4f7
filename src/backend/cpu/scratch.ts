// The scratch memory of the block interpreter: every register is a stretch of one float64 array.
//
// One array that never changes, rather than an array per register, because V8 then compiles its address and
// length into the loops as constants (measured: 1.4 to 2 times faster). That works for a `const` of an enclosing
// function, not for one at the top level, which bundlers rewrite to `var`; hence the loops are made by functions
// that take the array: `makeSteps`, `makeMoves`, `makeFolds`, `makeTile`.

/** Elements of a register. */
export const BLOCK = 1024

/** How many whole registers there are; programs that need more are run in shorter blocks. */
export const REGISTER_COUNT = 64

/** Position of one more block, in which a reduction collects its results. */
export const RESULTS = REGISTER_COUNT * BLOCK

export const REGISTERS = new Float64Array(RESULTS + BLOCK)
