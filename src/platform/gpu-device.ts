// The one name of WebGPU's in public types. In a file of its own: whatever else the platform says names `GPU`, which a
// project without WebGPU's types does not know.

/**
 * A WebGPU device of the user's. Public types say this, not `GPUDevice`: TypeScript knows that name only where
 * WebGPU's types are installed, and a project without them should still compile.
 */
export type UserGPUDevice = typeof globalThis extends { GPUDevice: { prototype: infer Device } }
  ? Device
  : object
