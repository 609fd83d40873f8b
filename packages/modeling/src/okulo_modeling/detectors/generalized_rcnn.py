"""Two-stage detectors: backbone, proposals, heads on the proposals.

Faster R-CNN (https://arxiv.org/abs/1506.01497) with FPN (https://arxiv.org/abs/1612.03144).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from attrs import field, frozen
from attrs.validators import ge
from torch import Tensor, nn

from okulo_core.config import part
from okulo_core.structures import ImageList, Instances
from okulo_modeling.backbones.backbone import Backbone
from okulo_modeling.backbones.fpn import FPNConfig
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.postprocessing import detector_postprocess
from okulo_modeling.roi_heads.standard import StandardROIHeads, StandardROIHeadsConfig
from okulo_modeling.rpn import RPN, RPNConfig
from okulo_modeling.weights import upgrade_weights

__all__ = ["FasterRCNNConfig", "GeneralizedRCNN"]


class GeneralizedRCNN(nn.Module):
    """A two-stage detector.

    Args:
        backbone: Images to named feature maps.
        proposal_generator: Feature maps to proposals; without it each sample brings ``proposals``.
        roi_heads: Features and proposals to detections.
        pixel_mean: For each channel, subtracted from the 0..255 image.
        pixel_std: For each channel; divides what is left.
        input_format: Order of the channels, such as ``"BGR"``; for whoever prepares images.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: RPN | None,
        roi_heads: StandardROIHeads,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str | None = None,
    ) -> None:
        super().__init__()
        if len(pixel_mean) != len(pixel_std):
            raise ValueError(
                "pixel_mean and pixel_std need one value per channel, got "
                f"{pixel_mean} and {pixel_std}"
            )
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.input_format = input_format
        # Settings and not weights: they are not stored in checkpoints.
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model lives; inputs are moved there."""
        return self.pixel_mean.device

    @property
    def num_classes(self) -> int:
        """Number of classes without background."""
        return self.roi_heads.num_classes

    def upgrade_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :func:`okulo_modeling.weights.upgrade_weights`; loaders ask for it."""
        return upgrade_weights(self, weights)

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """Losses in training, else detections.

        Args:
            batched_inputs: Samples with ``image``, (C, H, W) in 0..255; in training ``instances``
                with ``gt_boxes`` and ``gt_classes``; optionally ``height`` and ``width``, the size
                to which detections refer (default: the image's own).

        Returns:
            In training ``loss_cls``, ``loss_box_reg``, ``loss_rpn_cls`` and ``loss_rpn_loc``;
            otherwise, for each sample, ``{"instances": Instances}`` with ``pred_boxes``, ``scores``
            and ``pred_classes``, best first.
        """
        if not self.training:
            return self.inference(batched_inputs)
        targets = [t.to(self.device) for t in self._checked_truth(batched_inputs)]
        images = self.preprocess_image(batched_inputs)
        features = self._features(images)
        proposals, proposal_losses = self._propose(images, features, batched_inputs, targets)
        _, detector_losses = self.roi_heads(features, proposals, targets)
        return {**detector_losses, **proposal_losses}

    @torch.no_grad()
    def inference(
        self, batched_inputs: Sequence[Mapping[str, Any]], do_postprocess: bool = True
    ) -> Any:
        """Detect.

        Args:
            batched_inputs: As in :meth:`forward`.
            do_postprocess: False returns the Instances as the network sees the images.
        """
        if self.training:
            raise RuntimeError("inference needs the model in evaluation mode; call model.eval()")
        images = self.preprocess_image(batched_inputs)
        features = self._features(images)
        proposals, _ = self._propose(images, features, batched_inputs)
        results, _ = self.roi_heads(features, proposals)
        if not do_postprocess:
            return results
        return [
            {"instances": detector_postprocess(result, *_output_size(sample, size))}
            for result, sample, size in zip(
                results, batched_inputs, images.image_sizes, strict=True
            )
        ]

    def preprocess_image(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageList:
        """Move, normalise and pad the images to one batch."""
        images = [
            (_image(sample, len(self.pixel_mean)).to(self.device) - self.pixel_mean)
            / self.pixel_std
            for sample in batched_inputs
        ]
        return ImageList.from_tensors(
            images,
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )

    def _features(self, images: ImageList) -> dict[str, Tensor]:
        # Convolutions are faster with channels last, most of all in bfloat16.
        return self.backbone(images.tensor.contiguous(memory_format=torch.channels_last))

    def _propose(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        batched_inputs: Sequence[Mapping[str, Any]],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        if self.proposal_generator is not None:
            return self.proposal_generator(images, features, targets)
        if any("proposals" not in sample for sample in batched_inputs):
            raise ValueError("a model without proposal_generator needs 'proposals' in every sample")
        return [sample["proposals"].to(self.device) for sample in batched_inputs], {}

    def _checked_truth(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[Instances]:
        """The samples' instances; errors name the sample, before anything runs on a GPU."""
        truths = []
        for i, sample in enumerate(batched_inputs):
            truth = sample.get("instances")
            name = (
                f"sample {i} (image {sample.get('image_id', sample.get('file_name', 'unnamed'))})"
            )
            if truth is None:
                raise ValueError(
                    f"training needs 'instances' in every sample, {name} has "
                    f"{'None' if 'instances' in sample else f'only {sorted(sample)}'}; "
                    "use a mapper for training, or call model.eval() for inference"
                )
            if missing := [f for f in ("gt_boxes", "gt_classes") if not truth.has(f)]:
                raise ValueError(f"instances of {name} lack {missing}")
            if not bool(truth.gt_boxes.tensor.isfinite().all()):
                raise ValueError(f"gt_boxes of {name} hold NaN or infinity; repair the annotation")
            classes = truth.gt_classes
            if len(classes) and not (
                0 <= int(classes.min()) <= int(classes.max()) < self.num_classes
            ):
                raise ValueError(
                    f"gt_classes of {name} must be in 0..{self.num_classes - 1}, got "
                    f"{sorted(set(classes.tolist()))}; does num_classes={self.num_classes} fit the "
                    "dataset?"
                )
            truths.append(truth)
        return truths


def _image(sample: Mapping[str, Any], channels: int) -> Tensor:
    image = sample["image"]
    if not isinstance(image, Tensor) or image.dim() != 3 or image.shape[0] != channels:
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"sample['image'] must be a tensor ({channels}, H, W), got {got}")
    return image


def _output_size(sample: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[int, int]:
    return sample.get("height", image_size[0]), sample.get("width", image_size[1])


@frozen(kw_only=True)
class FasterRCNNConfig:
    """Settings of Faster R-CNN; by default ResNet-50 with FPN as published for COCO.

    The pixel statistics fit backbone weights whose first layer holds the standard deviation. To
    train from random weights, norms must learn: ``norm="BN"``, ``freeze_at=0``, and a ``pixel_std``
    near (57.4, 57.1, 58.4).
    """

    num_classes: int = field(default=80, validator=ge(1))
    backbone: Any = part("backbone", factory=FPNConfig)
    proposal_generator: Any = part("proposal_generator", factory=RPNConfig)
    roi_heads: Any = part("roi_heads", factory=StandardROIHeadsConfig)
    pixel_mean: tuple[float, ...] = (103.53, 116.28, 123.675)  # in the order of input_format
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    input_format: Literal["BGR", "RGB"] = "BGR"

    def build(self) -> GeneralizedRCNN:
        """Build with random weights."""
        backbone = self.backbone.build(ShapeSpec(channels=len(self.pixel_mean)))
        shapes = backbone.output_shape()
        return GeneralizedRCNN(
            backbone=backbone,
            proposal_generator=self.proposal_generator.build(shapes),
            roi_heads=self.roi_heads.build(shapes, self.num_classes),
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            input_format=self.input_format,
        )
