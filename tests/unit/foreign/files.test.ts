/** Finding a model's files. Formats and what is in them: tests/unit/tasks/import.test.ts; buckets: tests/integration/s3. */
import { expect, test } from 'vitest';
import { filesOf } from '../../../worker/foreign/index.ts';

test('a percent sign that is written plainly in a URL is told as such', async () => {
  await expect(filesOf({ url: 'file:///models/100%.onnx' }, new AbortController().signal)).rejects.toMatchObject({ code: 'TEACHER_NOT_FOUND', message: expect.stringContaining('%25') as string });
});
