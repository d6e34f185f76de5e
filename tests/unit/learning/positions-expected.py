"""
Writes positions-expected.json: made-up positions before and after `torch.nn.functional.interpolate(mode='bicubic', align_corners=False)`,
as DeiT fine-tunes at a higher resolution (facebookresearch/deit, main.py), in double precision. The test reads the JSON; it needs no Python.
Run: pip install torch==2.15.0 numpy && python positions-expected.py
"""
import json
from pathlib import Path

import numpy as np
import torch

def case(prefix, old, new, features):
    index = np.arange((prefix + old[0] * old[1]) * features)
    values = ((((index * 37) % 101) / 50) - 1).astype(np.float32).reshape(-1, features)
    grid = torch.tensor(values[prefix:]).double().reshape(1, old[0], old[1], features).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=new, mode='bicubic', align_corners=False).permute(0, 2, 3, 1).reshape(-1, features).numpy()
    after = np.concatenate([values[:prefix], resized])
    return {'prefix': prefix, 'from': old, 'to': new, 'features': features, 'before': [float(x) for x in values.ravel()], 'after': [float(f'{x:.9g}') for x in after.ravel()]}

cases = [case(1, (2, 2), (3, 3), 1), case(1, (3, 3), (5, 5), 2), case(2, (2, 3), (4, 6), 2), case(0, (4, 4), (4, 4), 1)]
Path(__file__).with_suffix('.json').write_text(json.dumps(cases) + '\n')
