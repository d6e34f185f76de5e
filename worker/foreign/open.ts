/** The table of formats: who opens which. A new one is a file beside this and a line here; which files it has, files.ts says. */
import type { ForeignModel, ModelFormat } from './model.ts';
import { openOnnxModel } from './onnx.ts';
import { openSavedModel } from './savedmodel.ts';
import { openTfjsModel } from './tfjs.ts';

/**
 * Opens a model whose files lie below `folder`, which may be removed afterwards.
 * @param paths of its files, below the folder
 * @throws AlumnusError TEACHER_UNREADABLE; ONNX_UNAVAILABLE, ENGINE_UNAVAILABLE where what runs the format is not installed
 */
export function openModel(format: ModelFormat, folder: string, paths: readonly string[]): Promise<ForeignModel> {
  switch (format) {
    case 'savedmodel': return openSavedModel(folder);
    case 'tfjs': return openTfjsModel(folder);
    case 'onnx': return openOnnxModel(folder, paths);
  }
}
