"""torchvision's side of augment.py: reads lines `workers seconds`, answers each with views a second.

    python augment_torchvision.py SIDE BATCH WARM_UP
"""

import sys
import time

import numpy as np
import torch

try:
    from torchvision import transforms
except RuntimeError:  # a CUDA build beside a CPU torch: its operators, of which transforms need none, do not load
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import transforms


class Views(torch.utils.data.Dataset):
    """Without end, one view each of the same images."""

    def __init__(self, images, view):
        self.images, self.view = images, view

    def __len__(self):
        return 10**9

    def __getitem__(self, index):
        return self.view(self.images[index % len(self.images)])


def main(side, batch, warm_up):
    view = transforms.Compose([
        transforms.ToPILImage(),
        transforms.RandomResizedCrop(side),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
        transforms.ToTensor(),
    ])
    images = np.random.default_rng(0).integers(0, 256, (2 * batch, side, side, 3), np.uint8)
    loaders = {}
    for line in sys.stdin:
        workers, seconds = int(line.split()[0]), float(line.split()[1])
        if workers not in loaders:
            loaders[workers] = iter(torch.utils.data.DataLoader(Views(images, view), batch, num_workers=workers))
        for _ in range(warm_up if workers else 1):
            next(loaders[workers])
        views, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            views += len(next(loaders[workers]))
        print(views / elapsed, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
