"""One of several processes that evaluate together: ``coco_process.py RANK WORLD FOLDER``."""

import json
import sys

import torch
import torch.distributed as dist

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.structures import Boxes, Instances
from okulo_evaluation.coco_evaluator import CocoEvaluator


def images():
    """Seven images with five objects each: (record, prediction)."""
    random = torch.Generator().manual_seed(0)
    for k in range(7):
        corners = torch.rand(5, 2, generator=random) * 60
        boxes = torch.cat([corners, corners + 10 + torch.rand(5, 2, generator=random) * 30], dim=1)
        truth = [Annotation(bbox=b, category_id=j % 2) for j, b in enumerate(boxes.tolist())]
        predicted = Instances(
            (100, 100),
            pred_boxes=Boxes(boxes + torch.randn(5, 4, generator=random) * 2),
            scores=torch.rand(5, generator=random),
            pred_classes=torch.randint(2, (5,), generator=random),
            pred_masks=torch.rand(5, 100, 100, generator=random) > 0.5,
        )
        record = ImageRecord(file_name=str(k), image_id=k, height=100, width=100, annotations=truth)
        yield record, predicted


def evaluated(rank, world, folder):
    records, predictions = zip(*images(), strict=True)
    info = DatasetInfo(name="random", thing_classes=("a", "b"))
    evaluator = CocoEvaluator(InMemoryDataset(info, records), output_dir=f"{folder}/{world}")
    share = list(range(len(records)))[rank::world]
    # The last process gets image 0 once more, as by a sampler that makes all shares equal.
    for k in share + [0] * (world > 1 and rank == world - 1):
        evaluator.process([{"image_id": k}], [{"instances": predictions[k]}])
    return evaluator.evaluate()


if __name__ == "__main__":
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
    with open(f"{folder}/scores-{rank}.json", "w") as file:
        json.dump(evaluated(rank, world, folder), file)
    dist.destroy_process_group()
