"""Faster R-CNN R50-FPN: one training step and inference, beside torchvision's, in one process.

    python tests/benchmarks/faster_rcnn.py --threads 2 --size 480 640 --batch 2 --repeats 9

Both models have the same weights, see the same images and truth, and make equally many proposals:
torchvision's ``fasterrcnn_resnet50_fpn`` with its defaults and frozen norms (what it builds for
pretrained weights), ours set to the same numbers (stride in the 3x3 convolution, two samples per
pooled cell, 2000 / 1000 proposals). The two take turns; a ratio is the median over turns of ours
divided by theirs, its spread the quartiles. The ratio of processor time, all threads together, is
less disturbed by other programs on the machine.
"""

import argparse
import platform
import re
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.misc import FrozenBatchNorm2d

from okulo_core.structures import Boxes, Instances
from okulo_modeling.backbones.fpn import FPNConfig
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.detectors.generalized_rcnn import FasterRCNNConfig, GeneralizedRCNN
from okulo_modeling.roi_heads.standard import StandardROIHeadsConfig
from okulo_modeling.rpn import RPNConfig

NUM_CLASSES = 80


def build_theirs(size: tuple[int, int]) -> FasterRCNN:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
    )
    for name, module in backbone.named_modules():
        if name.endswith("bn3"):
            module.weight.fill_(0.2)  # keeps the activations of random weights from growing
    return FasterRCNN(backbone, NUM_CLASSES + 1, min_size=min(size), max_size=max(size))


def build_ours() -> GeneralizedRCNN:
    return FasterRCNNConfig(
        num_classes=NUM_CLASSES,
        backbone=FPNConfig(bottom_up=ResNetConfig(depth=50, stride_in_1x1=False)),
        proposal_generator=RPNConfig(pre_nms_topk=(2000, 1000), post_nms_topk=(2000, 1000)),
        roi_heads=StandardROIHeadsConfig(pooler_type="ROIAlign", pooler_sampling_ratio=2),
        pixel_mean=(123.675, 116.28, 103.53),
        pixel_std=(58.395, 57.12, 57.375),
        input_format="RGB",
    ).build()


RENAMES = (
    (r"^backbone\.body\.(conv1|bn1)\.", r"backbone.bottom_up.stem.\1."),
    (r"^backbone\.body\.layer1\.", "backbone.bottom_up.res2."),
    (r"^backbone\.body\.layer2\.", "backbone.bottom_up.res3."),
    (r"^backbone\.body\.layer3\.", "backbone.bottom_up.res4."),
    (r"^backbone\.body\.layer4\.", "backbone.bottom_up.res5."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"^rpn\.head\.conv\.0\.0\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"\.fc6\.", ".fc1."),
    (r"\.fc7\.", ".fc2."),
)


def renamed(name: str) -> str:
    if found := re.match(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.(\w+)", name):
        kind = {"inner": "lateral", "layer": "output"}[found[1]]
        return f"backbone.fpn_{kind}{int(found[2]) + 2}.{found[3]}"
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    state = {renamed(name): tensor for name, tensor in theirs.state_dict().items()}
    for name, tensor in state.items():  # their background comes first, ours last
        if "box_predictor.cls_score" in name:
            state[name] = tensor.roll(-1, dims=0)
        elif "box_predictor.bbox_pred" in name:
            state[name] = tensor[4:]
    ours.load_state_dict(state)


Batch = tuple[list[Tensor], list[Tensor], list[Tensor]]


def make_batch(batch: int, size: tuple[int, int], objects: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(0)
    limit = torch.tensor([size[1], size[0]], dtype=torch.float32)
    images, boxes, classes = [], [], []
    for _ in range(batch):
        images.append(torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8))
        corner = torch.rand(objects, 2, generator=generator) * limit * 0.6
        side = limit * (0.05 + 0.3 * torch.rand(objects, 2, generator=generator))
        boxes.append(torch.cat((corner, corner + side), dim=1))
        classes.append(torch.randint(0, NUM_CLASSES, (objects,), generator=generator))
    return images, boxes, classes


def step(model: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Callable[[], None]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        sum(losses().values()).backward()  # type: ignore[union-attr]
        optimizer.step()

    return run


Times = tuple[list[float], list[float]]  # ours, theirs; in seconds, a number for each turn


def alternate(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[Times, Times]:
    """Wall-clock and processor times of both, taking turns."""
    wall: Times = ([], [])
    processor: Times = ([], [])
    ours(), theirs()  # the first call pays for memory and kernel choice
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 else (1, 0):
            start, start_processor = time.perf_counter(), time.process_time()
            (ours, theirs)[side]()
            wall[side].append(time.perf_counter() - start)
            processor[side].append(time.process_time() - start_processor)
    return wall, processor


def report(name: str, times: tuple[Times, Times]) -> None:
    for kind, (ours, theirs) in zip(("wall clock", "processor"), times, strict=True):
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:9} {kind:10} ours {statistics.median(ours):6.3f} s   torchvision "
            f"{statistics.median(theirs):6.3f} s   ratio {median:.3f} ({low:.3f}..{high:.3f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    theirs, ours = build_theirs(tuple(args.size)), build_ours()
    copy_weights(theirs, ours)
    images, boxes, classes = make_batch(args.batch, tuple(args.size))
    truth = [
        Instances(tuple(args.size), gt_boxes=Boxes(b), gt_classes=c)
        for b, c in zip(boxes, classes, strict=True)
    ]
    our_input = [{"image": i, "instances": t} for i, t in zip(images, truth, strict=True)]
    their_input = [image / 255 for image in images]
    their_truth = [{"boxes": b, "labels": c + 1} for b, c in zip(boxes, classes, strict=True)]

    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, {platform.machine()}, "
        f"{args.threads} threads, {args.batch} images of {args.size[0]} x {args.size[1]}, "
        f"{args.repeats} turns"
    )
    ours.train(), theirs.train()
    train = alternate(
        step(ours, lambda: ours(our_input)),
        step(theirs, lambda: theirs(their_input, their_truth)),
        args.repeats,
    )
    report("training", train)
    ours.eval(), theirs.eval()
    with torch.inference_mode():
        infer = alternate(lambda: ours(our_input), lambda: theirs(their_input), args.repeats)
    report("inference", infer)


if __name__ == "__main__":
    main()
