// First in every test process: a library loaded with dlopen does not survive a fork, so the software Vulkan
// driver that the config file chose is loaded again here, before anything imports `webgpu`.
import { preloadChosenDriver } from './swiftshader'

preloadChosenDriver()
