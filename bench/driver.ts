// Loaded into a child before anything else: the software WebGPU driver, where the parent has chosen it.

import { preloadChosenDriver } from '../test/support/swiftshader'

preloadChosenDriver()
