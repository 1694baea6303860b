"""BYOL as a user of PyTorch and lightly would write it; run by benchmarks/peers.py in an environment with the extra `bench`.

    python peers_torch.py ARRAYS.npz      answers, line by line on standard output, the words that come on standard input
"""

import copy
import json
import sys
import time

import numpy as np
import torch

library = torch.library.Library("torchvision", "DEF")  # where torchvision's own operators do not load
for operator in ("nms", "qnms"):
    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402
from lightly.loss import NegativeCosineSimilarity  # noqa: E402
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead  # noqa: E402
from lightly.models.utils import deactivate_requires_grad, update_momentum  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision import transforms  # noqa: E402


class BYOL(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torchvision.models.resnet18()
        self.backbone.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.backbone.maxpool = self.backbone.fc = torch.nn.Identity()
        self.projection_head = BYOLProjectionHead(512, 4096, 256)
        self.prediction_head = BYOLPredictionHead(256, 4096, 256)

    def load(self, arrays):
        self.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays if "." in name}, strict=False)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def forward(self, x):
        return self.prediction_head(self.projection_head(self.backbone(x).flatten(1)))

    def forward_momentum(self, x):
        return self.projection_head_momentum(self.backbone_momentum(x).flatten(1)).detach()


class Images(torch.utils.data.Dataset):
    """Two views of each image, as lightly's transforms make them: an image at a time, by Pillow."""

    def __init__(self, images):
        self.images = [Image.fromarray(image) for image in images]
        self.view = transforms.Compose([
            transforms.RandomResizedCrop(32, scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.view(self.images[i]), self.view(self.images[i])


class Trainer:
    def __init__(self, arrays):
        self.fixed = [torch.from_numpy(arrays[name]).permute(0, 3, 1, 2).contiguous() for name in ("view1", "view2")]
        self.model = BYOL()
        self.model.load(arrays)
        self.loss = NegativeCosineSimilarity()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in trained)
        self.optimizer = torch.optim.SGD(trained, lr=0.03, momentum=0.9, weight_decay=4e-4)
        self.loader = torch.utils.data.DataLoader(
            Images(arrays["images"]), len(self.fixed[0]), shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
        )
        self.batches = None

    def step(self, x1, x2):
        model = self.model
        update_momentum(model.backbone, model.backbone_momentum, m=0.996)
        update_momentum(model.projection_head, model.projection_head_momentum, m=0.996)
        p1, p2 = model(x1), model(x2)
        loss = self.loss(p1, model.forward_momentum(x2)) + self.loss(p2, model.forward_momentum(x1))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def to_channels_last(self):
        self.fixed = [x.to(memory_format=torch.channels_last) for x in self.fixed]
        self.model.to(memory_format=torch.channels_last)
        return self

    def epoch_step(self):
        while True:
            for x1, x2 in self.loader:
                yield self.step(x1, x2)

    def loaded(self):
        self.batches = self.batches or self.epoch_step()
        next(self.batches)


def main():
    arrays = dict(np.load(sys.argv[1]))
    trainer, channels_last = Trainer(arrays), Trainer(arrays).to_channels_last()
    ways = {
        "bare": lambda: trainer.step(*trainer.fixed),
        "channels_last": lambda: channels_last.step(*channels_last.fixed),
        "loader": trainer.loaded,
    }
    print(json.dumps({"parameters": trainer.parameters, "loss": trainer.step(*trainer.fixed)}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        ways[line.strip()]()
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
