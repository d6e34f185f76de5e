/** A model by name, with its options: what a recipe says where it names a model. Not for: what options there are (models/). */
import { z } from 'zod';
import { findModel, modelNames, rangeProblem } from './models/index.ts';

export const modelChoice = z
  .object({ model: z.string().describe(`The model's name: ${modelNames.join(', ')}.`) })
  .catchall(z.number().describe('An option of the model.'))
  .superRefine((choice, context) => {
    const options = findModel(choice.model)?.options;
    if (options === undefined) {
      context.addIssue({ code: 'custom', path: ['model'], message: `there is no model "${choice.model}"; there are ${modelNames.join(', ')}` });
      return;
    }
    for (const [key, value] of Object.entries(choice)) {
      if (key === 'model') continue;
      const option = Object.hasOwn(options, key) ? options[key] : undefined;
      if (option === undefined) context.addIssue({ code: 'custom', path: [key], message: `${choice.model} has no such option; it has ${Object.keys(options).join(', ')}` });
      else {
        const problem = rangeProblem(option, value);
        if (problem !== undefined) context.addIssue({ code: 'custom', path: [key], message: problem });
      }
    }
  });
