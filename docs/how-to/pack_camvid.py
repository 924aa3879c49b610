"""Pack the CamVid frames of SegNet's tutorial into camvid.h5: python pack_camvid.py CamVid camvid.h5

Halves 480 x 360 to 240 x 180: pictures by the exact mean of every 2 x 2 block, rounded half up; labels by
the odd row and column of the block, so that no classes are mixed.
"""

import sys
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

CLASSES = [
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign_symbol", "fence", "car", "pedestrian", "bicyclist", "unlabelled",
]  # fmt: skip


def halve(picture: np.ndarray) -> np.ndarray:
    rows, columns, channels = picture.shape
    blocks = picture.reshape(rows // 2, 2, columns // 2, 2, channels).astype(np.uint16)
    return ((blocks.sum((1, 3)) + 2) // 4).astype(np.uint8)


def main(source: Path, target: Path) -> None:
    with h5py.File(target, "w") as file:
        file.attrs["class_names"] = CLASSES
        file.attrs["ignore_index"] = CLASSES.index("unlabelled")
        for part in ("train", "val", "test"):
            frames = sorted((source / part).glob("*.png"))
            images = [halve(np.asarray(Image.open(f).convert("RGB"))) for f in frames]
            labels = [np.asarray(Image.open(source / f"{part}annot" / f.name))[1::2, 1::2] for f in frames]
            file.create_dataset(f"{part}/images", data=np.stack(images), compression="gzip")
            file.create_dataset(f"{part}/labels", data=np.stack(labels).astype(np.uint8), compression="gzip")
            print(f"{part}: {len(frames)} frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
