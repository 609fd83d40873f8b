"""The second stage: sample proposals, pool their features, predict class and box."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import field, frozen
from attrs.validators import and_, ge, le
from torch import Tensor, nn

from okulo_core.config import part
from okulo_core.events import log_scalars
from okulo_core.structures import Instances, pairwise_iou
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.matcher import Matcher
from okulo_modeling.poolers import PoolerType, ROIPooler
from okulo_modeling.proposal_utils import add_ground_truth_to_proposals
from okulo_modeling.roi_heads.box_head import FastRCNNConvFCHeadConfig
from okulo_modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, FastRCNNOutputLayersConfig
from okulo_modeling.sampling import subsample_labels

__all__ = ["StandardROIHeads", "StandardROIHeadsConfig"]


class StandardROIHeads(nn.Module):
    """Detect objects among proposals, with pooled features of a pyramid.

    Args:
        num_classes: K, without background.
        batch_size_per_image: Proposals of an image that enter the losses.
        positive_fraction: At most this part of them is foreground.
        proposal_matcher: From (M truths, R proposals) IoU to matches and labels.
        box_in_features: Names of the feature maps, finest first.
        box_pooler: From maps and boxes to features of each box.
        box_head: From these to vectors.
        box_predictor: From vectors to classes and boxes.
        proposal_append_gt: Whether the truth is among the proposals in training.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        batch_size_per_image: int,
        positive_fraction: float,
        proposal_matcher: Matcher,
        box_in_features: Sequence[str],
        box_pooler: ROIPooler,
        box_head: nn.Module,
        box_predictor: FastRCNNOutputLayers,
        proposal_append_gt: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.proposal_matcher = proposal_matcher
        self.proposal_append_gt = proposal_append_gt
        self.box_in_features = tuple(box_in_features)
        self.box_pooler = box_pooler
        self.box_head = box_head
        self.box_predictor = box_predictor

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Detect, or compute the losses.

        Args:
            features: Maps (N, C, H, W) by name.
            proposals: ``proposal_boxes`` and ``objectness_logits`` of each of N images.
            targets: Truth with ``gt_boxes`` and ``gt_classes``; needed in training.

        Returns:
            In training, the sampled proposals and the losses; else detections and no losses.
        """
        proposals = list(proposals)
        if self.training:
            if targets is None:
                raise ValueError("training ROI heads needs targets; call eval() for inference")
            proposals = self.label_and_sample_proposals(proposals, targets)
        maps = [features[name] for name in self.box_in_features]
        pooled = self.box_pooler(maps, [p.proposal_boxes for p in proposals])
        predictions = self.box_predictor(self.box_head(pooled))
        if self.training:
            return proposals, self.box_predictor.losses(predictions, proposals)
        return self.box_predictor.inference(predictions, proposals)[0], {}

    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: Sequence[Instances], targets: Sequence[Instances]
    ) -> list[Instances]:
        """Match proposals to the truth and choose those that enter the losses.

        Returns:
            For each image the chosen proposals with ``gt_classes`` (K background) and, if there is
            truth, its other ``gt_*`` fields by match; for background their values mean nothing.
        """
        if self.proposal_append_gt:
            proposals = add_ground_truth_to_proposals(targets, proposals)
        sampled = [self._sample(p, t) for p, t in zip(proposals, targets, strict=True)]
        num_all = sum(len(s) for s in sampled)
        num_fg = sum((s.gt_classes != self.num_classes).sum() for s in sampled)
        log_scalars(
            {
                "roi_head/num_fg_samples": num_fg / len(sampled),
                "roi_head/num_bg_samples": (num_all - num_fg) / len(sampled),
            }
        )
        return sampled

    def _sample(self, proposals: Instances, targets: Instances) -> Instances:
        quality = pairwise_iou(targets.gt_boxes, proposals.proposal_boxes)
        matches, labels = self.proposal_matcher(quality)
        if len(targets) > 0:
            classes = targets.gt_classes[matches]
            classes[labels == 0] = self.num_classes
            classes[labels == -1] = -1
        else:
            classes = torch.full_like(matches, self.num_classes)
        foreground, background = subsample_labels(
            classes, self.batch_size_per_image, self.positive_fraction, self.num_classes
        )
        chosen = torch.cat((foreground, background))
        sampled = proposals[chosen]
        sampled.gt_classes = classes[chosen]
        if len(targets) > 0:
            for name, value in targets.get_fields().items():
                if name.startswith("gt_") and not sampled.has(name):
                    sampled.set(name, value[matches[chosen]])
        return sampled


@frozen(kw_only=True)
class StandardROIHeadsConfig:
    """Settings of :class:`StandardROIHeads`; the defaults are those of published Faster R-CNNs."""

    in_features: tuple[str, ...] = ("p2", "p3", "p4", "p5")
    iou_thresholds: tuple[float, ...] = (0.5,)
    iou_labels: tuple[int, ...] = (0, 1)
    batch_size_per_image: int = field(default=512, validator=ge(1))
    positive_fraction: float = field(default=0.25, validator=and_(ge(0.0), le(1.0)))
    proposal_append_gt: bool = True
    pooler_resolution: int = field(default=7, validator=ge(1))
    pooler_sampling_ratio: int = field(default=0, validator=ge(0))  # 0: adapts to the box
    pooler_type: PoolerType = "ROIAlignV2"
    box_head: Any = part("box_head", factory=FastRCNNConvFCHeadConfig)
    box_predictor: Any = part("box_predictor", factory=FastRCNNOutputLayersConfig)

    def build(self, input_shape: Mapping[str, ShapeSpec], num_classes: int) -> StandardROIHeads:
        """Build for a backbone with this ``output_shape()`` and so many classes."""
        shapes = self._shapes(input_shape)
        box_head = self.box_head.build(
            ShapeSpec(
                channels=shapes[0].channels,
                height=self.pooler_resolution,
                width=self.pooler_resolution,
            )
        )
        return StandardROIHeads(
            num_classes=num_classes,
            batch_size_per_image=self.batch_size_per_image,
            positive_fraction=self.positive_fraction,
            proposal_matcher=Matcher(self.iou_thresholds, self.iou_labels),
            proposal_append_gt=self.proposal_append_gt,
            box_in_features=self.in_features,
            box_pooler=ROIPooler(
                self.pooler_resolution,
                [1.0 / (shape.stride or 1) for shape in shapes],
                self.pooler_sampling_ratio,
                self.pooler_type,
            ),
            box_head=box_head,
            box_predictor=self.box_predictor.build(box_head.output_shape, num_classes),
        )

    def _shapes(self, input_shape: Mapping[str, ShapeSpec]) -> list[ShapeSpec]:
        if missing := [name for name in self.in_features if name not in input_shape]:
            raise ValueError(
                f"in_features {missing} are no outputs of the backbone: {list(input_shape)}"
            )
        shapes = [input_shape[name] for name in self.in_features]
        if len({shape.channels for shape in shapes}) != 1:
            raise ValueError(
                "levels that share one box head need equal channels, got "
                f"{[shape.channels for shape in shapes]}"
            )
        return shapes
