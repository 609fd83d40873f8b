"""From detections in the network's image to those in the image the user asked for."""

from okulo_core.structures import Instances, ROIMasks

__all__ = ["detector_postprocess"]


def detector_postprocess(
    results: Instances, output_height: int, output_width: int, mask_threshold: float = 0.5
) -> Instances:
    """Rescale detections to an image of another size.

    Args:
        results: Detections in an image of ``results.image_size``; they stay as they are.
        output_height: Of the image the result refers to, in pixels.
        output_width: Likewise.
        mask_threshold: A pixel belongs to the mask from this probability on.

    Returns:
        Detections with boxes scaled and clipped, ``pred_masks`` (N, 1, M, M) pasted to bool
        (N, output_height, output_width), and keypoints' x, y scaled; empty boxes are dropped.
    """
    name = next((n for n in ("pred_boxes", "proposal_boxes") if results.has(n)), None)
    if name is None:
        raise ValueError(
            f"results need pred_boxes or proposal_boxes, got {list(results.get_fields())}"
        )
    size = (output_height, output_width)
    scale_x = output_width / results.image_size[1]
    scale_y = output_height / results.image_size[0]
    boxes = results.get(name).clone()
    boxes.scale(scale_x, scale_y)
    boxes.clip(size)
    scaled = Instances(size, **{**results.get_fields(), name: boxes})[boxes.nonempty()]
    if scaled.has("pred_masks"):
        masks = ROIMasks(scaled.pred_masks[:, 0])
        scaled.pred_masks = masks.to_bitmasks(
            scaled.get(name), output_height, output_width, mask_threshold
        ).tensor
    if scaled.has("pred_keypoints"):
        keypoints = scaled.pred_keypoints.clone()
        keypoints[:, :, 0] *= scale_x
        keypoints[:, :, 1] *= scale_y
        scaled.pred_keypoints = keypoints
    return scaled
