"""Which package of Okulo provides which component, so that a message can name one not installed.

Only messages use this: components come from plugins, and a test compares the two.
"""

__all__ = ["PROVIDERS"]

_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "okulo-coco": {"dataset": ("coco", "coco_panoptic")},
    "okulo-engine": {
        "gradient_clipping": ("norm", "value"),
        "logger": ("console", "jsonl", "tensorboard"),
        "optimizer": ("adamw", "sgd"),
        "sampler": ("training",),
        "schedule": ("cosine", "multistep"),
    },
    "okulo-evaluation": {"evaluator": ("coco",), "visualizer": ("instances",)},
    "okulo-modeling": {
        "anchor_generator": ("default",),
        "backbone": ("fpn", "resnet"),
        "box_head": ("conv_fc",),
        "box_predictor": ("fast_rcnn",),
        "model": ("faster_rcnn",),
        "proposal_generator": ("rpn",),
        "roi_heads": ("standard",),
        "top_block": ("max_pool", "p6p7"),
    },
    "okulo-shapes": {"dataset": ("shapes",)},
    "okulo-transforms": {
        "augmentation": ("random_flip", "resize_shortest_edge"),
        "mapper": ("detection",),
    },
}

PROVIDERS: dict[tuple[str, str], str] = {
    (kind, name): distribution
    for distribution, kinds in _NAMES.items()
    for kind, names in kinds.items()
    for name in names
}
