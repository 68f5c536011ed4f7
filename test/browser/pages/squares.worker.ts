// The same four squares, computed in a Web Worker.
import { squares } from '../../support/squares'

addEventListener('message', async () => postMessage(await squares(navigator.gpu)))
