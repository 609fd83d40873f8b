"""From dense scores and boxes to the proposals of each image.

Shape letters: N images, R candidates of an image over all levels, k candidates of one level.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from okulo_core.structures import Boxes, Instances
from okulo_ops import batched_nms

__all__ = [
    "add_ground_truth_to_proposals",
    "find_top_rpn_proposals",
    "select_proposals",
    "top_k_per_level",
]


def top_k_per_level(logits: Sequence[Tensor], k: int) -> list[tuple[Tensor, Tensor]]:
    """The ``k`` best of each image and level: values and indices, (N, <=k), best first."""
    return [level.topk(min(k, level.shape[1]), dim=1) for level in logits]


def select_proposals(
    boxes_NR4: Tensor,
    logits_NR: Tensor,
    levels_R: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    nms_thresh: float,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Clip candidates to their images, drop small and repeated ones, keep the best.

    Args:
        boxes_NR4: XYXY in input pixels.
        logits_NR: Objectness.
        levels_R: Level of each candidate; candidates suppress each other within a level only.
        image_sizes: (height, width) of each image.
        nms_thresh: Largest IoU with a better candidate of the same level.
        post_nms_topk: Kept per image, over all levels.
        min_box_size: Both sides must be longer, in pixels.
        training: Non-finite candidates are an error; otherwise they are dropped.

    Returns:
        Per image ``proposal_boxes`` and ``objectness_logits``, best first.

    Raises:
        FloatingPointError: A box or score is NaN or infinite in training.
    """
    finite = boxes_NR4.isfinite().all(dim=-1) & logits_NR.isfinite()
    if training and not bool(finite.all()):
        raise FloatingPointError(
            f"{int((~finite).sum())} predicted boxes or scores are NaN or infinite: training has "
            "diverged; lower the learning rate, warm up for longer or clip the gradients"
        )
    limits = boxes_NR4.new_tensor([(w, h, w, h) for h, w in image_sizes])
    boxes = boxes_NR4.clamp(min=0).minimum(limits[:, None])
    long_enough = (boxes[..., 2:] - boxes[..., :2] > min_box_size).all(dim=-1)
    image, row = (finite & long_enough).nonzero(as_tuple=True)
    boxes, logits = boxes[image, row], logits_NR[image, row]
    # One call for all images: a group is one level of one image.
    group = levels_R[row] * len(image_sizes) + image
    kept = batched_nms(boxes, logits, group, nms_thresh)
    results = []
    for i, size in enumerate(image_sizes):
        best = kept[image[kept] == i][:post_nms_topk]
        results.append(
            Instances(size, proposal_boxes=Boxes(boxes[best]), objectness_logits=logits[best])
        )
    return results


def find_top_rpn_proposals(
    proposals: Sequence[Tensor],
    pred_objectness_logits: Sequence[Tensor],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    pre_nms_topk: int,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Reduce all decoded boxes of a dense predictor to proposals.

    Args:
        proposals: (N, R_l, 4) boxes of each level l, in input pixels.
        pred_objectness_logits: (N, R_l) scores of each level.
        image_sizes: (height, width) of each image.
        nms_thresh: See :func:`select_proposals`.
        pre_nms_topk: Candidates of each image and level, the best by score.
        post_nms_topk: See :func:`select_proposals`; likewise the rest.
        min_box_size: Likewise.
        training: Likewise.
    """
    best = top_k_per_level(pred_objectness_logits, pre_nms_topk)
    boxes = [
        level.take_along_dim(index[:, :, None], dim=1)
        for level, (_, index) in zip(proposals, best, strict=True)
    ]
    return select_proposals(
        torch.cat(boxes, dim=1),
        torch.cat([logits for logits, _ in best], dim=1),
        level_of_candidates(best),
        image_sizes,
        nms_thresh=nms_thresh,
        post_nms_topk=post_nms_topk,
        min_box_size=min_box_size,
        training=training,
    )


def level_of_candidates(best: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Level of every candidate that :func:`top_k_per_level` found: (R,) int64."""
    device = best[0][1].device
    return torch.cat(
        [
            torch.full((index.shape[1],), level, dtype=torch.int64, device=device)
            for level, (_, index) in enumerate(best)
        ]
    )


# An objectness of 1 - 1e-10: truth is never pushed out by a prediction.
_TRUTH_LOGIT = math.log((1.0 - 1e-10) / (1 - (1.0 - 1e-10)))


def add_ground_truth_to_proposals(
    gt: Sequence[Instances | Boxes], proposals: Sequence[Instances]
) -> list[Instances]:
    """Append the true boxes of each image to its proposals, so that training always sees positives.

    Args:
        gt: Instances with ``gt_boxes``, or boxes, for each image.
        proposals: For each image; fields other than boxes and logits must exist in ``gt`` too.
    """
    if len(gt) != len(proposals):
        raise ValueError(f"got truth of {len(gt)} images and proposals of {len(proposals)}")
    return [_with_truth(t, p) for t, p in zip(gt, proposals, strict=True)]


def _with_truth(gt: Instances | Boxes, proposals: Instances) -> Instances:
    boxes = gt if isinstance(gt, Boxes) else gt.gt_boxes
    truth = Instances(proposals.image_size, **({} if isinstance(gt, Boxes) else gt.get_fields()))
    truth.proposal_boxes = boxes
    truth.objectness_logits = proposals.objectness_logits.new_full((len(boxes),), _TRUTH_LOGIT)
    if missing := [name for name in proposals.get_fields() if not truth.has(name)]:
        raise ValueError(f"proposals have fields that the ground truth lacks: {missing}")
    return Instances.cat([proposals, truth])
