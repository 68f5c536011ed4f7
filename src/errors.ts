// Every error the library throws on purpose. Each names the argument, what was given, what was
// expected and what to do, so that a user can act on the message alone.

/** Base of all errors thrown on purpose by evenfold. */
export class EvenfoldError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An argument has a value outside its documented range. */
export class ArgumentError extends EvenfoldError {}
/** Shapes, ranks or sizes do not fit together. */
export class ShapeError extends EvenfoldError {}
/** A dtype is not supported by the op, or two dtypes do not fit together. */
export class DTypeError extends EvenfoldError {}
/** An index or token id lies outside the dimension it indexes. */
export class IndexError extends EvenfoldError {}
/** Tensors live on different devices, a device is missing, or it failed. */
export class DeviceError extends EvenfoldError {}
/** The GPU device was lost; create a new one with `init`. */
export class DeviceLostError extends DeviceError {}
/** A device or the heap has no room for an allocation. */
export class OutOfMemoryError extends DeviceError {}
/** A tensor was used after its memory had been released. */
export class ReleasedError extends EvenfoldError {}
/** The autograd graph cannot serve the request (freed, modified in place, no gradient …). */
export class GraphError extends EvenfoldError {}
/** Memory scopes (`tidy`, `noGrad`) were closed in another order than they were opened. */
export class ScopeOverlapError extends EvenfoldError {}
/** A file or byte stream is malformed, or does not fit what it is loaded into. */
export class FormatError extends EvenfoldError {}
/** A file could not be written or read: full disk, no permission, a failing device. What was there before is still there. */
export class FileError extends EvenfoldError {}
/** A loss, norm or gradient became NaN or infinite. */
export class NonFiniteError extends EvenfoldError {}
