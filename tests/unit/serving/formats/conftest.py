"""A small model of images, and packages of each format; each is made once, and only read."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stepworks.serving.package import build_package
from stepworks.training.images import build_model
from stepworks.training.model_directory import save_model

CLASSES = ["cat", "dog", "owl"]


def write_image_model(folder: Path) -> Path:
    """A network with random weights of another scale than those of initialisation, so that its answers spread."""
    torch.manual_seed(5)
    settings = {"classes": CLASSES, "width": 8, "depth": 1}
    network = build_model(**settings)
    with torch.no_grad():
        network.head.weight.mul_(10)
    save_model(
        folder,
        network.state_dict(),
        None,
        "stepworks.training.images:build_model",
        settings,
        "stepworks.training.images:read_images",
        data_settings={"classes": CLASSES, "image_size": 16},
    )
    return folder


def write_images(folder: Path) -> Path:
    """Four images of each class, all different."""
    random = np.random.default_rng(7)
    for name in CLASSES:
        (folder / name).mkdir()
        for number in range(4):
            pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_model(tmp_path_factory.mktemp("images") / "model")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def packaged(
    tmp_path_factory: pytest.TempPathFactory, model_directory: Path, raw_table: Path, image_model: Path, images: Path
) -> Callable[[str, str], Path]:
    """A package of a format: that of the table's model, or that of images."""

    @functools.cache
    def made(layout: str, kind: str) -> Path:
        folder = tmp_path_factory.mktemp("packages") / f"{kind}-{layout}"
        model, samples = (model_directory, raw_table) if kind == "table" else (image_model, images)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            build_package(model, samples, folder, format=layout)
        return folder

    return made
