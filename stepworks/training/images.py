"""The built-in trainer for image classification: images from Parquet or from a folder, and a residual network."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from stepworks.errors import ConfigurationError, DataError
from stepworks.training.data.parquet import RowGroups
from stepworks.training.data.samples import Inputs, Samples

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""What the files of a folder of images end with, in small or capital letters."""

Classes = int | Sequence[str]
"""The names of the classes in the order of their numbers, or how many they are, named 0, 1, 2 and so on."""


class ImageNetwork(nn.Module):
    """A residual network of convolutions, with one logit a class.

    Images are normalised, and in training mirrored at random, on the device: what is random is drawn from the
    generator that a checkpoint keeps. Groups of channels are normalised, and not batches, so that a result does not
    depend on how a batch is shared out among processes or split for gradient accumulation.

    Args:
        classes: The number of classes.
        width: The channels of the first stage, a multiple of 8; each of the four stages has twice those of the one
            before.
        depth: The residual blocks of a stage.
        mirror: Whether half of the images are mirrored in training. Not for digits, text, or left and right shoes.
    """

    def __init__(self, classes: int, *, width: int, depth: int, mirror: bool) -> None:
        super().__init__()
        self.mirror = mirror
        self.stem = nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            for number in range(depth):
                wider = width * 2**stage
                blocks.append(_Block(channels, wider, stride=2 if stage and not number else 1))
                channels = wider
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(8, channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of shape [images, classes] for uint8 images of shape [images, 3, height, width]."""
        if self.training and self.mirror:
            mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(3), images)
        values = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        values = self.stem(values)
        for block in self.blocks:
            values = block(values)
        logits: torch.Tensor = self.head(functional.silu(self.norm(values)).mean(dim=(2, 3)))
        return logits

    @staticmethod
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of logits of shape [images, classes] and class numbers of shape [images]."""
        return functional.cross_entropy(logits, targets)

    @staticmethod
    def figures(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """`accuracy`: for each image 1 if the class with the greatest logit is right, and 0 if not."""
        return {"accuracy": (logits.argmax(dim=1) == targets).float()}


class _Block(nn.Module):
    """Two convolutions around which the values go as well."""

    def __init__(self, channels: int, wider: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, wider, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, wider)
        self.conv2 = nn.Conv2d(wider, wider, kernel_size=3, padding=1, bias=False)
        same = stride == 1 and channels == wider
        self.skip = nn.Identity() if same else nn.Conv2d(channels, wider, kernel_size=1, stride=stride, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = self.conv1(functional.silu(self.norm1(values)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        result: torch.Tensor = self.skip(values) + inner
        return result


def build_model(*, classes: Classes, width: int = 32, depth: int = 2, mirror: bool = True) -> ImageNetwork:
    """Build the network (a model builder of the training contract); see `ImageNetwork` for the settings.

    Raises:
        ConfigurationError: A setting is out of range.
    """
    names = class_names(classes)
    if width < 8 or width % 8 or depth < 1:
        raise ConfigurationError(
            "The network cannot be built",
            received=f"width {width}, depth {depth}",
            expected="a width that is a multiple of 8, and a depth from 1",
            what_to_do="Correct model_settings.",
        )
    return ImageNetwork(len(names), width=width, depth=depth, mirror=mirror)


def read_images(
    path: Path, *, classes: Classes, image_size: int = 224, image: str = "image", label: str = "label"
) -> Samples:
    """Read images and their classes (a data builder of the training contract).

    Images are decoded when they are taken: their shorter side is scaled to `image_size`, and the middle is cut out.
    The inputs are uint8 of shape [images, 3, image_size, image_size], the targets int64 of shape [images].

    Args:
        path: A Parquet file, a folder of `*.parquet`, or a folder that has for each class a folder of images with the
            class's name. A folder of images is meant for some hundred thousand at most: all names are in memory.
        classes: The names of the classes in order, or their number; the same for training, validation and the model.
        image_size: The height and width of what the model gets, in pixels.
        image: In Parquet, the column of encoded images (JPEG, PNG, ...): binary, or structs with a field `bytes`.
        label: In Parquet, the column of class numbers or class names.

    Raises:
        NotFoundError: There is no such file or folder.
        DataError: There is no image, a column is missing, or a folder is of no class. An image that cannot be decoded
            and a label that is none are told when they are read.
        ConfigurationError: A setting is out of range.
    """
    names = class_names(classes)
    if image_size < 1 or not isinstance(image_size, int):
        raise ConfigurationError(
            "The size of the images is out of range",
            received=f"image_size {image_size}",
            expected="a whole number from 1",
            what_to_do="Correct data_settings.",
        )
    if path.is_dir() and not any(path.glob("*.parquet")):
        return FolderImages(path, names, image_size)
    return ParquetImages(path, names, image_size, image=image, label=label)


def class_names(classes: Classes) -> list[str]:
    """The names of the classes.

    Raises:
        ConfigurationError: There are fewer than two, or a name comes twice.
    """
    names = [str(each) for each in (range(classes) if isinstance(classes, int) else classes)]
    if len(names) < 2 or len(set(names)) != len(names):
        raise ConfigurationError(
            "The classes are not at least two different ones",
            received=f"classes {classes!r}",
            expected="a number from 2, or names that differ",
            what_to_do="Correct classes in model_settings and data_settings.",
        )
    return names


@dataclass(frozen=True)
class _Part:
    """A row group: its encoded images, its classes, and what a message calls it."""

    images: pa.Array
    targets: NDArray[np.int64]
    name: str


class ParquetImages:
    """Images in Parquet; see `read_images`."""

    def __init__(self, path: Path, classes: Sequence[str], size: int, *, image: str, label: str) -> None:
        self._classes, self._size, self._image, self._label = classes, size, image, label
        self.classes = len(classes)
        self._groups = RowGroups(path, [image, label], self._decoded)
        self.block_sizes = self._groups.block_sizes

    def __len__(self) -> int:
        return len(self._groups)

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The images and classes of the rows at `indices`.

        Raises:
            DataError: An image cannot be decoded, or a label is none; file, row group and row are named.
        """
        images = torch.empty((len(indices), 3, self._size, self._size), dtype=torch.uint8)
        targets = torch.empty(len(indices), dtype=torch.int64)
        for part, rows, places in self._groups.parts(indices):
            targets[torch.from_numpy(places)] = torch.from_numpy(part.targets[rows])
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                name = f"The image in row {row} of {part.name}"
                images[place] = _pixels(io.BytesIO(part.images[row].as_buffer()), self._size, name)
        return (images,), targets

    def fingerprint(self) -> str:
        """A digest of the files' sizes and footers; see `RowGroups.fingerprint`."""
        return self._groups.fingerprint()

    def _decoded(self, table: pa.Table, name: str) -> _Part:
        images = table[self._image].combine_chunks()
        if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
            images = images.field("bytes")
        if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
            raise DataError(
                f"The column {self._image} of {name} does not hold encoded images",
                received=str(table.schema.field(self._image).type),
                expected="binary, or structs with a binary field bytes",
                what_to_do="Write the content of the image files into the column, or name another one.",
            )
        for column, values in ((self._image, images), (self._label, table[self._label])):
            if values.null_count:
                raise DataError(
                    f"The column {column} of {name} has missing values",
                    received=f"{values.null_count} missing in {table.num_rows} rows",
                    expected="none",
                    what_to_do="Drop their rows when the data is prepared.",
                )
        return _Part(images, self._targets(table[self._label].to_pylist(), name), name)

    def _targets(self, labels: list[Any], name: str) -> NDArray[np.int64]:
        """Class numbers of labels, which are numbers or names."""
        number_of = {class_name: number for number, class_name in enumerate(self._classes)}
        targets = [number_of.get(label, -1) if isinstance(label, str) else label for label in labels]
        for row, target in enumerate(targets):
            if not (isinstance(target, int) and 0 <= target < len(self._classes)):
                raise DataError(
                    f"A label in the column {self._label} of {name} is of no class",
                    received=f"{labels[row]!r} in row {row}",
                    expected=f"a number from 0 to {len(self._classes) - 1}, or one of {_some(self._classes)}",
                    what_to_do="Correct classes in data_settings, or the labels.",
                )
        return np.array(targets, dtype=np.int64)


class FolderImages:
    """Images in a folder for each class; see `read_images`."""

    def __init__(self, path: Path, classes: Sequence[str], size: int) -> None:
        self._path, self._size, self.classes = path, size, len(classes)
        self._files: list[Path] = []
        self._targets: list[int] = []
        for folder in sorted(each for each in path.iterdir() if each.is_dir()):
            if folder.name not in classes:
                raise DataError(
                    f"The folder {folder} is of no class",
                    received=folder.name,
                    expected=f"one of {_some(classes)}",
                    what_to_do="Correct classes in data_settings, or move the folder away.",
                )
            files = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)
            self._files += files
            self._targets += [classes.index(folder.name)] * len(files)
        if not self._files:
            raise DataError(
                f"There is no image in {path}",
                received="no *.parquet, and no folder with images",
                expected=f"Parquet files, or a folder of images for each of {_some(classes)}, "
                f"ending with {', '.join(SUFFIXES)}",
                what_to_do="Give the folder that holds the folders of the classes.",
            )

    def __len__(self) -> int:
        return len(self._files)

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The images and classes of the files at `indices`.

        Raises:
            DataError: A file cannot be read or decoded; it is named.
        """
        images = torch.empty((len(indices), 3, self._size, self._size), dtype=torch.uint8)
        for place, index in enumerate(indices.tolist()):
            images[place] = _pixels(self._files[index], self._size, f"The image {self._files[index]}")
        return (images,), torch.tensor([self._targets[index] for index in indices.tolist()])

    def fingerprint(self) -> str:
        """A digest of the names, the sizes and the classes of all files; they are not read."""
        digest = hashlib.sha256()
        for file, target in zip(self._files, self._targets, strict=True):
            digest.update(f"{file.relative_to(self._path)}\0{file.stat().st_size}\0{target}\0".encode())
        return digest.hexdigest()


def _pixels(source: Path | IO[bytes], size: int, name: str) -> torch.Tensor:
    """An image as uint8 of shape [3, size, size]."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as image:
            image.draft("RGB", (size, size))  # A large JPEG is decoded smaller, not smaller than this.
            fitted = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{name} cannot be decoded",
            received=f"{type(error).__name__}: {error}",
            expected="an image as JPEG, PNG, or another format that Pillow reads",
            what_to_do="Write it again, or leave it out when the data is prepared.",
        ) from error
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def _some(names: Sequence[str]) -> str:
    """The first few of the names."""
    return ", ".join(names[:10]) + (f", ... ({len(names)} in all)" if len(names) > 10 else "")
