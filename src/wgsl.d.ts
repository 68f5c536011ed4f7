// Shaders are imported as text (tsup's `text` loader in the build, a small Vite plugin in the tests).
declare module '*.wgsl' {
  const source: string
  export default source
}
