// Files of tensors: what `evenfold` exports under `io`.

export {
  type CheckpointInfo,
  type CheckpointModel,
  type CheckpointPart,
  type CheckpointParts,
  type CheckpointPosition,
  loadCheckpoint,
  readCheckpointInfo,
  type SaveCheckpointOptions,
  saveCheckpoint,
} from './checkpoint'
export {
  bfloat16Bits,
  bfloat16FromBits,
  float16Bits,
  float16FromBits,
  type SafetensorsDType,
  type StorageDType,
} from './dtypes'
export {
  type ByteSource,
  type HostTensor,
  openSafetensors,
  type ParsedSafetensors,
  parseSafetensors,
  type SafetensorsReader,
  type SerializeOptions,
  saveSafetensors,
  serializeSafetensors,
  type TensorToWrite,
} from './safetensors'
export { type LoadTensorsOptions, loadTensors, saveTensors, tensorsToBytes } from './tensors'
