"""Region proposal network (Faster R-CNN, https://arxiv.org/abs/1506.01497, section 3.1).

Shape letters: N images; A anchors per cell; R = sum of H * W * A anchors over all levels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from attrs import field, frozen
from attrs.validators import and_, ge, le
from torch import Tensor, nn

from okulo_core.config import part
from okulo_core.events import log_scalars
from okulo_core.structures import Boxes, ImageList, Instances, pairwise_iou
from okulo_modeling.anchors import DefaultAnchorGenerator, DefaultAnchorGeneratorConfig
from okulo_modeling.box_regression import Box2BoxTransform, BoxRegLossType, box_regression_loss
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.matcher import Matcher
from okulo_modeling.proposal_utils import level_of_candidates, select_proposals, top_k_per_level
from okulo_modeling.sampling import subsample_labels

__all__ = ["RPN", "RPNConfig", "StandardRPNHead"]


class StandardRPNHead(nn.Module):
    """3x3 convolutions, then 1x1 ones for objectness and box deltas; shared by all levels.

    Args:
        in_channels: Of every feature map.
        num_anchors: A, anchors per cell.
        box_dim: Numbers of a box.
        conv_dims: Output channels of the 3x3 convolutions; -1 keeps the number.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_anchors: int,
        box_dim: int = 4,
        conv_dims: Sequence[int] = (-1,),
    ) -> None:
        super().__init__()
        convs = []
        channels = in_channels
        for dim in conv_dims:
            if dim != -1 and dim <= 0:
                raise ValueError(f"conv_dims must be positive or -1, got {list(conv_dims)}")
            out_channels = channels if dim == -1 else dim
            convs.append(Conv2d(channels, out_channels, 3, padding=1, activation=F.relu_))
            channels = out_channels
        if len(convs) == 1:
            self.conv: nn.Module = convs[0]  # a key of its own in published files: "conv.weight"
        else:
            self.conv = nn.Sequential()
            for i, conv in enumerate(convs):
                self.conv.add_module(f"conv{i}", conv)
        self.objectness_logits = nn.Conv2d(channels, num_anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, num_anchors * box_dim, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict for maps (N, C, H, W): logits (N, A, H, W) and deltas (N, A * box_dim, H, W)."""
        hidden = [self.conv(feature) for feature in features]
        logits = [self.objectness_logits(x) for x in hidden]
        return logits, [self.anchor_deltas(x) for x in hidden]


class RPN(nn.Module):
    """Proposals from dense features, and in training the losses of objectness and boxes.

    Args:
        in_features: Names of the feature maps, finest first.
        head: Maps features to logits and deltas, as :class:`StandardRPNHead`.
        anchor_generator: Maps features to the anchors of each level.
        anchor_matcher: From (M truths, R anchors) IoU to matches and labels.
        box2box_transform: Coding of the deltas.
        batch_size_per_image: Anchors of an image that enter the losses.
        positive_fraction: At most this part of them is positive.
        pre_nms_topk: Candidates per level before NMS, (in training, in inference).
        post_nms_topk: Proposals per image after NMS, (in training, in inference).
        nms_thresh: IoU above which the worse candidate goes.
        min_box_size: Proposals have longer sides, in input pixels.
        anchor_boundary_thresh: If not negative, anchors that reach further outside their image, in
            pixels, are ignored in training.
        loss_weight: One factor, or one for each of ``loss_rpn_cls`` and ``loss_rpn_loc``.
        box_reg_loss_type: See :func:`okulo_modeling.box_regression.box_regression_loss`.
        smooth_l1_beta: Likewise.
    """

    def __init__(
        self,
        *,
        in_features: Sequence[str],
        head: nn.Module,
        anchor_generator: DefaultAnchorGenerator,
        anchor_matcher: Matcher,
        box2box_transform: Box2BoxTransform,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_topk: tuple[int, int],
        post_nms_topk: tuple[int, int],
        nms_thresh: float = 0.7,
        min_box_size: float = 0.0,
        anchor_boundary_thresh: float = -1.0,
        loss_weight: float | Mapping[str, float] = 1.0,
        box_reg_loss_type: str = "smooth_l1",
        smooth_l1_beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = tuple(in_features)
        self.rpn_head = head
        self.anchor_generator = anchor_generator
        self.anchor_matcher = anchor_matcher
        self.box2box_transform = box2box_transform
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.pre_nms_topk = {True: pre_nms_topk[0], False: pre_nms_topk[1]}
        self.post_nms_topk = {True: post_nms_topk[0], False: post_nms_topk[1]}
        self.nms_thresh = nms_thresh
        self.min_box_size = min_box_size
        self.anchor_boundary_thresh = anchor_boundary_thresh
        self.loss_weight = loss_weight
        self.box_reg_loss_type = box_reg_loss_type
        self.smooth_l1_beta = smooth_l1_beta

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        gt_instances: Sequence[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Propose regions for N images.

        Args:
            images: Only their sizes are used.
            features: Maps by name.
            gt_instances: Truth with ``gt_boxes``; needed in training.

        Returns:
            Proposals of each image (``proposal_boxes``, ``objectness_logits``; best first, without
            gradient); losses ``loss_rpn_cls`` and ``loss_rpn_loc``, empty in inference.
        """
        maps = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(maps)
        logits, deltas = self._flattened(*self.rpn_head(maps))
        losses: dict[str, Tensor] = {}
        if self.training:
            if gt_instances is None:
                raise ValueError("training an RPN needs gt_instances; call eval() for inference")
            labels, boxes = self.label_and_sample_anchors(anchors, gt_instances, images.image_sizes)
            losses = self.losses(anchors, logits, labels, deltas, boxes)
        return self.predict_proposals(anchors, logits, deltas, images.image_sizes), losses

    def _flattened(
        self, logits: list[Tensor], deltas: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """To (N, HWA) and (N, HWA, box_dim), the order of the anchors."""
        box_dim = self.anchor_generator.box_dim
        return (
            [x.permute(0, 2, 3, 1).flatten(1) for x in logits],
            [x.unflatten(1, (-1, box_dim)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in deltas],
        )

    @torch.no_grad()
    def label_and_sample_anchors(
        self,
        anchors: Sequence[Boxes],
        gt_instances: Sequence[Instances],
        image_sizes: Sequence[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Choose the anchors of each image that enter the losses.

        Returns:
            For each image (R,) int8 labels: 1 object, 0 background, -1 not used; and (R, 4) true
            boxes that match, zeros in an image without truth.
        """
        all_anchors = Boxes.cat(list(anchors))
        labels, boxes = [], []
        for truth, size in zip(gt_instances, image_sizes, strict=True):
            image_labels, image_boxes = self._match(all_anchors, truth.gt_boxes, size)
            labels.append(self._subsample(image_labels))
            boxes.append(image_boxes)
        return labels, boxes

    def _match(
        self, anchors: Boxes, gt_boxes: Boxes, image_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        # A box without area has IoU 0 with every anchor, which would tie as its best match.
        gt_boxes = gt_boxes[gt_boxes.nonempty()]
        matches, labels = self.anchor_matcher(pairwise_iou(gt_boxes, anchors))
        if self.anchor_boundary_thresh >= 0:
            labels[~anchors.inside_box(image_size, self.anchor_boundary_thresh)] = -1
        if len(gt_boxes) == 0:
            return labels, torch.zeros_like(anchors.tensor)
        return labels, gt_boxes.tensor[matches]

    def _subsample(self, labels: Tensor) -> Tensor:
        positive, negative = subsample_labels(
            labels, self.batch_size_per_image, self.positive_fraction, 0
        )
        return labels.fill_(-1).index_fill_(0, positive, 1).index_fill_(0, negative, 0)

    def losses(
        self,
        anchors: Sequence[Boxes],
        pred_objectness_logits: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        pred_anchor_deltas: Sequence[Tensor],
        gt_boxes: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Losses of the sampled anchors, as sums divided by N * ``batch_size_per_image``.

        Args:
            anchors: For each level.
            pred_objectness_logits: (N, HWA) for each level.
            gt_labels: (R,) for each image, as :meth:`label_and_sample_anchors` gives.
            pred_anchor_deltas: (N, HWA, 4) for each level.
            gt_boxes: (R, 4) for each image.
        """
        labels_NR = torch.stack(list(gt_labels))
        num_images = len(labels_NR)
        used = (labels_NR >= 0).nonzero(as_tuple=True)
        positive = image, anchor = (labels_NR == 1).nonzero(as_tuple=True)
        log_scalars(
            {
                "rpn/num_pos_anchors": len(image) / num_images,
                "rpn/num_neg_anchors": (len(used[0]) - len(image)) / num_images,
            }
        )
        logits_NR = torch.cat(list(pred_objectness_logits), dim=1)
        loss_cls = F.binary_cross_entropy_with_logits(
            logits_NR[used].float(), labels_NR[used].float(), reduction="sum"
        )
        loss_loc = box_regression_loss(
            torch.cat(list(pred_anchor_deltas), dim=1)[positive],
            Boxes.cat(list(anchors)).tensor[anchor],
            torch.stack(list(gt_boxes))[positive],
            self.box2box_transform,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )
        normalizer = self.batch_size_per_image * num_images
        return {
            "loss_rpn_cls": loss_cls / normalizer * self._weight("loss_rpn_cls"),
            "loss_rpn_loc": loss_loc / normalizer * self._weight("loss_rpn_loc"),
        }

    def _weight(self, name: str) -> float:
        if isinstance(self.loss_weight, Mapping):
            return self.loss_weight.get(name, 1.0)
        return self.loss_weight

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: Sequence[Boxes],
        pred_objectness_logits: Sequence[Tensor],
        pred_anchor_deltas: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[Instances]:
        """Decode the best anchors of each level and select among them; arguments as in `losses`.

        The proposals carry no gradient: as in the paper's approximate joint training, the second
        stage does not move the boxes it looks at.
        """
        best = top_k_per_level(
            [logits.float() for logits in pred_objectness_logits], self.pre_nms_topk[self.training]
        )
        boxes = [
            self.box2box_transform.apply_deltas(
                deltas.take_along_dim(index[:, :, None], dim=1), level_anchors.tensor[index]
            )
            for level_anchors, deltas, (_, index) in zip(
                anchors, pred_anchor_deltas, best, strict=True
            )
        ]
        return select_proposals(
            torch.cat(boxes, dim=1),
            torch.cat([logits for logits, _ in best], dim=1),
            level_of_candidates(best),
            image_sizes,
            nms_thresh=self.nms_thresh,
            post_nms_topk=self.post_nms_topk[self.training],
            min_box_size=self.min_box_size,
            training=self.training,
        )


@frozen(kw_only=True)
class RPNConfig:
    """Settings of :class:`RPN`; the defaults are those of published Faster R-CNNs with FPN."""

    in_features: tuple[str, ...] = ("p2", "p3", "p4", "p5", "p6")
    anchor_generator: Any = part("anchor_generator", factory=DefaultAnchorGeneratorConfig)
    conv_dims: tuple[int, ...] = (-1,)
    iou_thresholds: tuple[float, ...] = (0.3, 0.7)
    iou_labels: tuple[int, ...] = (0, -1, 1)
    batch_size_per_image: int = field(default=256, validator=ge(1))
    positive_fraction: float = field(default=0.5, validator=and_(ge(0.0), le(1.0)))
    pre_nms_topk: tuple[int, int] = (2000, 1000)  # in training, in inference; per level
    post_nms_topk: tuple[int, int] = (1000, 1000)  # in training, in inference; per image
    nms_thresh: float = field(default=0.7, validator=and_(ge(0.0), le(1.0)))
    min_box_size: float = 0.0
    anchor_boundary_thresh: float = -1.0
    loss_weight: float = field(default=1.0, validator=ge(0.0))
    bbox_reg_loss_weight: float = field(default=1.0, validator=ge(0.0))
    bbox_reg_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    box_reg_loss_type: BoxRegLossType = "smooth_l1"
    smooth_l1_beta: float = field(default=0.0, validator=ge(0.0))

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> RPN:
        """Build for a backbone with this ``output_shape()``."""
        shapes = _levels(input_shape, self.in_features)
        anchor_generator = self.anchor_generator.build(shapes)
        return RPN(
            in_features=self.in_features,
            head=_build_head(shapes, anchor_generator, self.conv_dims),
            anchor_generator=anchor_generator,
            anchor_matcher=Matcher(
                self.iou_thresholds, self.iou_labels, allow_low_quality_matches=True
            ),
            box2box_transform=Box2BoxTransform(self.bbox_reg_weights),
            batch_size_per_image=self.batch_size_per_image,
            positive_fraction=self.positive_fraction,
            pre_nms_topk=self.pre_nms_topk,
            post_nms_topk=self.post_nms_topk,
            nms_thresh=self.nms_thresh,
            min_box_size=self.min_box_size,
            anchor_boundary_thresh=self.anchor_boundary_thresh,
            loss_weight={
                "loss_rpn_cls": self.loss_weight,
                "loss_rpn_loc": self.loss_weight * self.bbox_reg_loss_weight,
            },
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )


def _levels(shapes: Mapping[str, ShapeSpec], in_features: Sequence[str]) -> list[ShapeSpec]:
    if missing := [name for name in in_features if name not in shapes]:
        raise ValueError(f"in_features {missing} are no outputs of the backbone: {list(shapes)}")
    return [shapes[name] for name in in_features]


def _build_head(
    shapes: Sequence[ShapeSpec], anchor_generator: Any, conv_dims: Sequence[int]
) -> StandardRPNHead:
    channels = {shape.channels for shape in shapes}
    num_anchors = set(anchor_generator.num_anchors)
    if len(channels) != 1 or len(num_anchors) != 1:
        raise ValueError(
            "levels that share one head need equal channels and equally many anchors per cell, got "
            f"channels {[s.channels for s in shapes]} and anchors {anchor_generator.num_anchors}"
        )
    return StandardRPNHead(
        in_channels=channels.pop() or 0,
        num_anchors=num_anchors.pop(),
        box_dim=anchor_generator.box_dim,
        conv_dims=conv_dims,
    )
