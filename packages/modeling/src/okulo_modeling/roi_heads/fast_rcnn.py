"""Class and box of every region (Fast R-CNN, https://arxiv.org/abs/1504.08083).

Shape letters: M proposals of all images; K classes, label K is background; B columns of boxes, 4 or
4 * K.
"""

from collections.abc import Mapping, Sequence

import torch
from attrs import field, frozen
from attrs.validators import and_, ge, le
from torch import Tensor, nn

from okulo_core.events import log_scalars
from okulo_core.structures import Boxes, Instances
from okulo_modeling.box_regression import Box2BoxTransform, BoxRegLossType, box_regression_loss
from okulo_modeling.layers.losses import cross_entropy
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_ops import batched_nms

__all__ = ["FastRCNNOutputLayers", "FastRCNNOutputLayersConfig", "fast_rcnn_inference"]


class FastRCNNOutputLayers(nn.Module):
    """Two linear layers, their losses, and detections from them.

    Args:
        input_shape: Of the features; or just their number.
        box2box_transform: Coding of the boxes.
        num_classes: K, without background.
        test_score_thresh: Detections score higher.
        test_nms_thresh: IoU above which the worse detection of the same class goes.
        test_topk_per_image: Detections kept; below 0 all.
        cls_agnostic_bbox_reg: One box for all classes, instead of one for each.
        smooth_l1_beta: See :func:`okulo_modeling.box_regression.box_regression_loss`.
        box_reg_loss_type: Likewise.
        loss_weight: One factor, or one for each of ``loss_cls`` and ``loss_box_reg``.
    """

    def __init__(
        self,
        input_shape: ShapeSpec | int,
        *,
        box2box_transform: Box2BoxTransform,
        num_classes: int,
        test_score_thresh: float = 0.0,
        test_nms_thresh: float = 0.5,
        test_topk_per_image: int = 100,
        cls_agnostic_bbox_reg: bool = False,
        smooth_l1_beta: float = 0.0,
        box_reg_loss_type: str = "smooth_l1",
        loss_weight: float | Mapping[str, float] = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.box2box_transform = box2box_transform
        self.test_score_thresh = test_score_thresh
        self.test_nms_thresh = test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.smooth_l1_beta = smooth_l1_beta
        self.box_reg_loss_type = box_reg_loss_type
        self.loss_weight = loss_weight
        inputs = _num_features(input_shape)
        self.cls_score = nn.Linear(inputs, num_classes + 1)
        self.bbox_pred = nn.Linear(inputs, 4 if cls_agnostic_bbox_reg else 4 * num_classes)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.cls_score, self.bbox_pred):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (M, ...) features to (M, K + 1) logits, background last, and (M, B) box deltas."""
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)

    def losses(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """Mean cross-entropy, and the foreground's box loss divided by M.

        Dividing by all M proposals, not by the foreground, weighs every positive alike whatever
        their number in the batch.

        Args:
            predictions: As :meth:`forward` returns them.
            proposals: Of each image, with ``proposal_boxes``, ``gt_classes`` and, if the image has
                truth, ``gt_boxes``.
        """
        scores, deltas = predictions
        classes = torch.cat([p.gt_classes for p in proposals])
        log_classification(scores, classes)
        loss_box_reg = self._box_reg_loss(deltas, classes, proposals)
        return {
            "loss_cls": cross_entropy(scores.float(), classes) * self._weight("loss_cls"),
            "loss_box_reg": loss_box_reg * self._weight("loss_box_reg"),
        }

    def _box_reg_loss(
        self, deltas: Tensor, classes: Tensor, proposals: Sequence[Instances]
    ) -> Tensor:
        foreground = ((classes >= 0) & (classes < self.num_classes)).nonzero()[:, 0]
        src_boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
        # Without truth every proposal is background, so what stands here is never read.
        gt_boxes = torch.cat(
            [(p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes).tensor for p in proposals]
        )
        loss = box_regression_loss(
            self._of_class(deltas, foreground, classes[foreground]),
            src_boxes[foreground],
            gt_boxes[foreground],
            self.box2box_transform,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )
        return loss / max(len(classes), 1)

    def _of_class(self, boxes: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
        """The (len(rows), 4) part of (M, B) ``boxes`` that belongs to these rows and classes."""
        boxes = boxes.unflatten(1, (-1, 4))
        return boxes[rows, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)]

    def _weight(self, name: str) -> float:
        if isinstance(self.loss_weight, Mapping):
            return self.loss_weight.get(name, 1.0)
        return self.loss_weight

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections of each image; see :func:`fast_rcnn_inference`."""
        return fast_rcnn_inference(
            self.predict_boxes(predictions, proposals),
            self.predict_probs(predictions, proposals),
            [p.image_size for p in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )

    def predict_boxes(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> list[Tensor]:
        """Decoded boxes of each image: (M_i, B), float32."""
        if not proposals:
            return []
        src_boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
        boxes = self.box2box_transform.apply_deltas(predictions[1], src_boxes)
        return list(boxes.split([len(p) for p in proposals]))

    def predict_boxes_for_gt_classes(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> list[Tensor]:
        """Decoded boxes of each proposal's true class: (M_i, 4) for each image.

        Background proposals get the box of the last class.
        """
        if not proposals:
            return []
        boxes = torch.cat(self.predict_boxes(predictions, proposals))
        classes = torch.cat([p.gt_classes for p in proposals]).clamp(0, self.num_classes - 1)
        rows = torch.arange(len(boxes), device=boxes.device)
        return list(self._of_class(boxes, rows, classes).split([len(p) for p in proposals]))

    def predict_probs(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> list[Tensor]:
        """Softmax probabilities of each image: (M_i, K + 1), float32."""
        return list(predictions[0].float().softmax(dim=-1).split([len(p) for p in proposals]))


def _num_features(shape: ShapeSpec | int) -> int:
    if isinstance(shape, int):
        return shape
    return (shape.channels or 1) * (shape.height or 1) * (shape.width or 1)


@torch.no_grad()
def log_classification(scores: Tensor, classes: Tensor) -> None:
    """Log how well (M, K + 1) ``scores`` fit (M,) ``classes``, over all and over the foreground."""
    if len(classes) == 0:
        return
    background = scores.shape[1] - 1
    predicted = scores.argmax(dim=1)
    foreground = (classes >= 0) & (classes < background)
    correct = predicted == classes
    num_foreground = foreground.sum()
    scalars = {"fast_rcnn/cls_accuracy": correct.float().mean()}
    if int(num_foreground) > 0:
        missed = foreground & (predicted == background)
        scalars["fast_rcnn/fg_cls_accuracy"] = (foreground & correct).sum() / num_foreground
        scalars["fast_rcnn/false_negative"] = missed.sum() / num_foreground
    log_scalars(scalars)


def fast_rcnn_inference(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """Turn class scores and boxes into detections.

    Args:
        boxes: (M_i, B) of each image, in pixels.
        scores: (M_i, K + 1) probabilities of each image, background last.
        image_shapes: (height, width) to which boxes are clipped.
        score_thresh: Detections score higher.
        nms_thresh: IoU above which the worse detection of the same class goes.
        topk_per_image: Detections kept; below 0 all.

    Returns:
        Per image ``pred_boxes``, ``scores``, ``pred_classes``, best first; and for each detection
        the row of its proposal, counted among the finite ones: those with NaN are left out.
    """
    results = [
        _detections(*image, score_thresh, nms_thresh, topk_per_image)
        for image in zip(boxes, scores, image_shapes, strict=True)
    ]
    return [r[0] for r in results], [r[1] for r in results]


def _detections(
    boxes: Tensor,
    scores: Tensor,
    image_shape: tuple[int, int],
    score_thresh: float,
    nms_thresh: float,
    topk: int,
) -> tuple[Instances, Tensor]:
    finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
    if not bool(finite.all()):
        boxes, scores = boxes[finite], scores[finite]
    row, label = (scores[:, :-1] > score_thresh).nonzero(as_tuple=True)
    scores = scores[row, label]
    boxes = boxes.unflatten(1, (-1, 4))
    # Select before clipping: most of the M * K boxes score too low to matter.
    selected = Boxes(boxes[row, label if boxes.shape[1] > 1 else torch.zeros_like(label)])
    selected.clip(image_shape)
    kept = batched_nms(selected.tensor, scores, label, nms_thresh)
    if topk >= 0:
        kept = kept[:topk]
    detections = Instances(
        image_shape, pred_boxes=selected[kept], scores=scores[kept], pred_classes=label[kept]
    )
    return detections, row[kept]


@frozen(kw_only=True)
class FastRCNNOutputLayersConfig:
    """Settings of :class:`FastRCNNOutputLayers`; the defaults are those of published detectors."""

    bbox_reg_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    test_score_thresh: float = field(default=0.05, validator=and_(ge(0.0), le(1.0)))
    test_nms_thresh: float = field(default=0.5, validator=and_(ge(0.0), le(1.0)))
    test_topk_per_image: int = 100
    cls_agnostic_bbox_reg: bool = False
    smooth_l1_beta: float = field(default=0.0, validator=ge(0.0))
    box_reg_loss_type: BoxRegLossType = "smooth_l1"
    bbox_reg_loss_weight: float = field(default=1.0, validator=ge(0.0))

    def build(self, input_shape: ShapeSpec, num_classes: int) -> FastRCNNOutputLayers:
        """Build for features of this shape and so many classes."""
        return FastRCNNOutputLayers(
            input_shape,
            box2box_transform=Box2BoxTransform(self.bbox_reg_weights),
            num_classes=num_classes,
            test_score_thresh=self.test_score_thresh,
            test_nms_thresh=self.test_nms_thresh,
            test_topk_per_image=self.test_topk_per_image,
            cls_agnostic_bbox_reg=self.cls_agnostic_bbox_reg,
            smooth_l1_beta=self.smooth_l1_beta,
            box_reg_loss_type=self.box_reg_loss_type,
            loss_weight={"loss_box_reg": self.bbox_reg_loss_weight},
        )
