// The same four squares, computed in a Web Worker.
import { squares } from '../../support/squares'

postMessage(await squares(navigator.gpu))
