"""
Writes models-expected.json: what the published PyTorch code of each model gives, and its parameter counts.
Logits in evaluation mode; loss and norm of the gradient of all trained parameters in training mode (batch statistics,
no dropout, no stochastic depth, in double precision), for small variants with made-up weights and images that models.test.ts makes again
by the same formulas. Images have odd sides where a model has strides, because PyTorch and TensorFlow pad
alike there.

Sources: torchvision 0.29.2 (ResNet, counts of EfficientNet B0 to B7), timm 1.0.31 (EfficientNet, ViT, DeiT),
xternalz/WideResNet-pytorch wideresnet.py, torch 2.15.0. The tests read the JSON; they need no Python.
Run: pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 && python models-expected.py PATH/TO/wideresnet.py
"""
import json, math, re, sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from timm.models.deit import VisionTransformerDistilled
from timm.models.efficientnet import _gen_efficientnet
from timm.models.vision_transformer import VisionTransformer

published = {}
exec(Path(sys.argv[1]).read_text().replace('F.avg_pool2d(out, 8)', 'F.adaptive_avg_pool2d(out, 1)').replace('n = (depth - 4) / 6', 'n = (depth - 4) // 6'), published)
CLASSES, BATCH = 5, 4

def images(side):
    index = np.arange(BATCH * side * side * 3)
    return torch.tensor((((index * 37) % 251) / 250).reshape(BATCH, side, side, 3).transpose(0, 3, 1, 2).astype(np.float32)).double()

def values(name, shape):
    """In Alumnus's layout: kernels [height, width, in, out] and [in, out]."""
    size = math.prod(shape)
    x = np.arange(1, size + 1, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(sum(map(ord, name)) * 65537)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    x = x ^ (x >> np.uint32(12))
    wave = (x / 2 ** 31 - 1) * math.sqrt(3)  # uniform, of variance 1
    kind = name.split('/')[-1]
    if kind == 'kernel': wave = wave * math.sqrt(2 / (size / shape[-1] if shape[-1] > 1 or len(shape) == 2 else shape[0] * shape[1]))
    elif kind in ('scale', 'variance'): wave = 1 + 0.2 * wave
    else: wave = 0.1 * wave
    return wave.reshape(shape).astype(np.float32)

def fill(model, rename):
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith('num_batches_tracked'): continue
            layer, part = key.rsplit('.', 1) if '.' in key else ('', key)
            name = rename(layer, part)
            shape = list(tensor.shape)
            if part == 'weight' and len(shape) == 4:
                ours = [shape[2], shape[3], shape[1], shape[0]] if layer.split('.')[-1] != 'conv_dw' else [shape[2], shape[3], shape[0], 1]
                given = values(name, ours)
                tensor.copy_(torch.tensor(given.transpose(3, 2, 0, 1) if layer.split('.')[-1] != 'conv_dw' else given.transpose(2, 3, 0, 1)))
            elif part == 'weight' and len(shape) == 2: tensor.copy_(torch.tensor(values(name, shape[::-1]).T))
            elif len(shape) == 3: tensor.copy_(torch.tensor(values(name, shape[1:])).reshape(shape))
            else: tensor.copy_(torch.tensor(values(name, shape)))

def part_name(layer, part, normalization):
    if normalization: return f"{layer}/{ {'weight': 'scale', 'bias': 'offset', 'running_mean': 'mean', 'running_var': 'variance'}[part]}"
    return f"{layer}/{ {'weight': 'kernel', 'bias': 'bias'}[part]}"

def resnet_name(layer, part):
    if layer == 'conv1': return part_name('stem', part, False)
    if layer == 'bn1': return part_name('stem/normalization', part, True)
    if layer == 'fc': return part_name('logits', part, False)
    stage, block, rest = re.fullmatch(r'layer(\d)\.(\d+)\.(.*)', layer).groups()
    where = f'stage_{stage}/block_{int(block) + 1}'
    if rest.startswith('downsample'): return part_name(f'{where}/projection' + ('/normalization' if rest.endswith('1') else ''), part, rest.endswith('1'))
    number = rest[-1]
    return part_name(f'{where}/convolution_{number}' + ('/normalization' if rest.startswith('bn') else ''), part, rest.startswith('bn'))

def wide_name(layer, part):
    if layer == 'conv1': return part_name('stem', part, False)
    if layer == 'bn1': return part_name('final', part, True)
    if layer == 'fc': return part_name('logits', part, False)
    stage, block, rest = re.fullmatch(r'block(\d)\.layer\.(\d+)\.(.*)', layer).groups()
    where = f'stage_{stage}/block_{int(block) + 1}'
    if rest == 'convShortcut': return part_name(f'{where}/projection', part, False)
    return part_name(f"{where}/{'normalization' if rest.startswith('bn') else 'convolution'}_{rest[-1]}", part, rest.startswith('bn'))

def efficientnet_name(layer, part):
    top = {'conv_stem': ('stem', False), 'bn1': ('stem/normalization', True), 'conv_head': ('head', False), 'bn2': ('head/normalization', True), 'classifier': ('logits', False)}
    if layer in top: return part_name(top[layer][0], part, top[layer][1])
    stage, block, rest = re.fullmatch(r'blocks\.(\d)\.(\d+)\.(.*)', layer).groups()
    where = f'stage_{int(stage) + 1}/block_{int(block) + 1}'
    first = {'conv_dw': 'depthwise', 'bn1': 'depthwise/normalization', 'conv_pw': 'project', 'bn2': 'project/normalization'}
    others = {'conv_pw': 'expand', 'bn1': 'expand/normalization', 'conv_dw': 'depthwise', 'bn2': 'depthwise/normalization', 'conv_pwl': 'project', 'bn3': 'project/normalization'}
    name = {'se.conv_reduce': 'squeeze', 'se.conv_expand': 'excite', **(first if stage == '0' else others)}[rest]
    return part_name(f'{where}/{name}', part, rest.startswith('bn'))

def transformer_name(layer, part):
    alone = {'cls_token': 'class/token', 'dist_token': 'distillation/token', 'pos_embed': 'tokens/positions'}
    if layer == '': return alone[part]
    top = {'patch_embed.proj': ('patches', False), 'norm': ('final', True), 'head': ('logits', False), 'head_dist': ('distillation_logits', False)}
    if layer in top: return part_name(top[layer][0], part, top[layer][1])
    block, rest = re.fullmatch(r'blocks\.(\d+)\.(.*)', layer).groups()
    name, normalization = {'norm1': ('attention/normalization', True), 'attn.qkv': ('attention/queries_keys_values', False), 'attn.proj': ('attention/projection', False),
                           'norm2': ('hidden/normalization', True), 'mlp.fc1': ('hidden', False), 'mlp.fc2': ('output', False)}[rest]
    return part_name(f'block_{int(block) + 1}/{name}', part, normalization)

def result(name, options, side, model, rename):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d): module.eps = 1e-3
    model.double()
    fill(model, rename)
    model.eval()
    with torch.no_grad(): logits = model(images(side))
    model.train()
    if hasattr(model, 'distilled_training'): model.distilled_training = True
    heads = model(images(side))
    targets = torch.arange(BATCH) % CLASSES
    heads = heads if isinstance(heads, tuple) else (heads,)
    loss = sum(torch.nn.functional.cross_entropy(head, targets) for head in heads) / len(heads)
    loss.backward()
    norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in model.parameters()))
    return {'name': name, 'options': options, 'side': side, 'logits': [float(f'{x:.8g}') for x in logits.flatten().tolist()], 'loss': float(f'{loss.item():.8g}'), 'gradientNorm': float(f'{norm:.8g}')}

torch.manual_seed(0)
norm_layer = partial(torch.nn.LayerNorm, eps=1e-6)
vit = dict(img_size=8, patch_size=4, embed_dim=24, depth=3, num_heads=3, num_classes=CLASSES, norm_layer=norm_layer)
def small(block, layers, stem):
    """torchvision's; with stem 3 as the variants for small images have it (kuangliu/pytorch-cifar)."""
    model = torchvision.models.ResNet(block, layers, num_classes=CLASSES)
    if stem == 3:
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model
blocks = torchvision.models.resnet
forwards = [
    result('resnet', {'depth': 18}, 33, small(blocks.BasicBlock, [2, 2, 2, 2], 7), resnet_name),
    result('resnet', {'depth': 18, 'stem': 3}, 9, small(blocks.BasicBlock, [2, 2, 2, 2], 3), resnet_name),
    result('resnet', {'depth': 50}, 33, small(blocks.Bottleneck, [3, 4, 6, 3], 7), resnet_name),
    result('wide-resnet', {'depth': 16, 'width': 2}, 17, published['WideResNet'](16, CLASSES, 2), wide_name),
    result('efficientnet-b0', {'width': 0.5, 'depth': 1.1}, 33, _gen_efficientnet('tf_efficientnet_b0', channel_multiplier=0.5, depth_multiplier=1.1, num_classes=CLASSES, bn_eps=1e-3, pad_type='same', drop_rate=0., pretrained=False), efficientnet_name),
    result('vit-tiny', {'patch': 4, 'width': 24, 'depth': 3}, 8, VisionTransformer(**vit), transformer_name),
    result('deit-tiny', {'patch': 4, 'width': 24, 'depth': 3}, 8, VisionTransformerDistilled(**vit), transformer_name),
]

def count(name, options, side, classes, make):
    with torch.device('meta'): model = make()
    return {'name': name, 'options': options, 'side': side, 'classes': classes, 'parameters': sum(p.numel() for p in model.parameters())}

counts = [count('resnet', {'depth': depth}, 224, 1000, getattr(torchvision.models, f'resnet{depth}')) for depth in (18, 34, 50, 101, 152)]
counts.append(count('resnet', {'depth': 18, 'stem': 3}, 32, 10, lambda: (lambda m: (setattr(m, 'fc', torch.nn.Linear(512, 10)), m)[1])(small(blocks.BasicBlock, [2, 2, 2, 2], 3))))
counts += [count('wide-resnet', {'depth': depth, 'width': width}, 32, 10, lambda: published['WideResNet'](depth, 10, width)) for depth, width in ((16, 1), (16, 2), (28, 10), (40, 2), (40, 4))]
counts += [count(f'efficientnet-b{b}', {}, 224, 1000, getattr(torchvision.models, f'efficientnet_b{b}')) for b in range(8)]
counts.append(count('efficientnet-l2', {}, 224, 1000, lambda: timm.create_model('tf_efficientnet_l2')))
for size in ('tiny', 'small', 'base'):
    counts.append(count(f'vit-{size}', {}, 224, 1000, lambda: timm.create_model(f'deit_{size}_patch16_224')))
    counts.append(count(f'deit-{size}', {}, 224, 1000, lambda: timm.create_model(f'deit_{size}_distilled_patch16_224')))
Path(__file__).with_name('models-expected.json').write_text(json.dumps({'forwards': forwards, 'counts': counts}, indent=1) + '\n')
