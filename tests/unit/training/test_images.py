"""Image classification: what is read from Parquet and folders, what is told of bad images, and a model that learns."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from stepworks.errors import ConfigurationError, DataError, NotFoundError, StepworksError
from stepworks.training.data.samples import Samples
from stepworks.training.images import build_model, read_images
from stepworks.training.model_directory import load_model
from stepworks.training.spec import LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.train import train
from stepworks.training.workspace import Workspace

CLASSES = ["blue", "green", "red"]
COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def encoded(colour: tuple[int, int, int], *, size: tuple[int, int] = (20, 10), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def noisy(label: str, random: np.random.Generator) -> bytes:
    """An image in which the class's colour is a little stronger than the others."""
    pixels = random.integers(0, 180, (12, 12, 3))
    pixels[..., 2 - CLASSES.index(label)] += 70
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, images: list[bytes | None], labels: list[object], **columns: object) -> Path:
    table = pa.table({"image": pa.array(images, pa.binary()), "label": labels})
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)  # type: ignore[arg-type]
    pq.write_table(table, path, row_group_size=2)
    return path


def write_folder(path: Path) -> Path:
    for name, colour in COLOURS.items():
        (path / name).mkdir(parents=True)
        for number in range(3):
            (path / name / f"{number}.PNG").write_bytes(encoded(colour))
        (path / name / ".hidden").write_text("not an image")
    return path


def middle(samples: Samples, index: int) -> tuple[list[int], int]:
    """The colour in the middle of an image, and its class."""
    (images,), targets = samples.take(torch.tensor([index]))
    assert images.shape == (1, 3, 8, 8)
    assert images.dtype == torch.uint8
    return images[0, :, 4, 4].tolist(), int(targets[0])


@pytest.mark.parametrize("labels", [[2, 0, 1, 2, 0], ["red", "blue", "green", "red", "blue"]], ids=["numbers", "names"])
def test_images_are_read_from_parquet(tmp_path: Path, labels: list[object]) -> None:
    names = ["red", "blue", "green", "red", "blue"]
    path = write_parquet(tmp_path / "images", [encoded(COLOURS[name]) for name in names], labels)
    samples = read_images(path, classes=CLASSES, image_size=8)
    assert len(samples) == 5
    for index, name in enumerate(names):
        assert middle(samples, index) == (list(COLOURS[name]), CLASSES.index(name))
    (images,), targets = samples.take(torch.tensor([4, 0, 2]))
    assert targets.tolist() == [0, 2, 1]
    assert images[:, :, 0, 0].tolist() == [[0, 0, 250], [250, 0, 0], [0, 250, 0]]


def test_images_in_structs_are_read_as_the_datasets_library_writes_them(tmp_path: Path) -> None:
    structs = pa.array([{"bytes": encoded((9, 8, 7)), "path": "a.png"}])
    path = write_parquet(tmp_path / "images", [b""], [1], image=structs)
    assert middle(read_images(path, classes=2, image_size=8), 0) == ([9, 8, 7], 1)


def test_images_are_read_from_a_folder_of_folders(tmp_path: Path) -> None:
    samples = read_images(write_folder(tmp_path), classes=CLASSES, image_size=8)
    assert len(samples) == 9
    assert [middle(samples, index) for index in (0, 3, 8)] == [([0, 0, 250], 0), ([0, 250, 0], 1), ([250, 0, 0], 2)]


def test_the_middle_of_an_image_is_cut_out_whatever_its_format(tmp_path: Path) -> None:
    wide = Image.new("L", (40, 8), 0)
    wide.paste(255, (16, 0, 24, 8))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    large = encoded((100, 100, 100), size=(640, 480), kind="JPEG")
    samples = read_images(
        write_parquet(tmp_path / "images", [buffer.getvalue(), large], [0, 1]), classes=2, image_size=8
    )
    (images,), _ = samples.take(torch.tensor([0, 1]))
    assert images[0].min() == 255
    assert (images[1].int() - 100).abs().max() <= 2


def test_the_fingerprint_of_a_folder_is_of_names_and_sizes(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return read_images(tmp_path, classes=CLASSES).fingerprint()

    write_folder(tmp_path)
    before = fingerprint()
    assert fingerprint() == before
    (tmp_path / "red" / "0.PNG").rename(tmp_path / "red" / "9.png")
    renamed = fingerprint()
    assert renamed != before
    (tmp_path / "red" / "9.png").write_bytes(encoded((1, 2, 3), size=(200, 100)))
    assert fingerprint() != renamed


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([b"no image"], [0], r"image in row 0 of row group 1 of .*images cannot be decoded"),
        (
            [encoded((0, 0, 0), size=(90, 90))[:-60]],
            [0],
            r"image in row 0 of row group 1 of .*images cannot be decoded",
        ),
        ([None], [0], r"column image of row group 1 of .*images has missing values"),
        ([b""], [None], r"column label of row group 1 of .*images has missing values"),
        ([b""], [3], r"column label of row group 1 of .*images is of no class(?s:.*)3 in row 0(?s:.*)from 0 to 2"),
        ([b""], [-1], r"is of no class(?s:.*)-1 in row 0"),
    ],
    ids=["text", "cut", "no image", "no label", "too large", "negative"],
)
def test_a_bad_row_is_told_by_file_row_group_and_column(
    tmp_path: Path, images: list[bytes | None], labels: list[object], message: str
) -> None:
    good = encoded((1, 1, 1))
    path = write_parquet(tmp_path / "images", [good, good, *images], [0, 1, *labels])
    samples = read_images(path, classes=CLASSES, image_size=8)
    samples.take(torch.tensor([0, 1]))
    with pytest.raises(DataError, match=message):
        samples.take(torch.tensor([2]))


def test_a_name_of_no_class_and_a_column_of_no_images_are_told(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "names", [encoded((1, 1, 1))], ["purple"])
    with pytest.raises(DataError, match=r"'purple' in row 0(?s:.*)blue, green, red"):
        read_images(path, classes=CLASSES).take(torch.tensor([0]))
    path = write_parquet(tmp_path / "numbers", [b""], [0], image=pa.array([5]))
    with pytest.raises(DataError, match=r"column image of row group 0 of .* does not hold encoded images(?s:.*)int64"):
        read_images(path, classes=CLASSES).take(torch.tensor([0]))


def spoil_image(folder: Path) -> None:
    (write_folder(folder) / "red" / "1.PNG").write_bytes(b"nothing")


def test_a_file_that_is_no_image_is_told(tmp_path: Path) -> None:
    spoil_image(tmp_path)
    samples = read_images(tmp_path, classes=CLASSES)
    with pytest.raises(DataError, match=r"The image .*red/1\.PNG cannot be decoded"):
        samples.take(torch.tensor([7]))


@pytest.mark.parametrize(
    ("make", "settings", "error", "message"),
    [
        (lambda path: None, {}, NotFoundError, "no Parquet file"),
        (lambda path: path.mkdir(), {}, DataError, "no image in"),
        (lambda path: (path / "purple").mkdir(parents=True), {}, DataError, "purple is of no class"),
        (lambda path: write_parquet(path, [b""], [0]), {"label": "species"}, DataError, "lacks the column species"),
        (lambda path: path.mkdir(), {"classes": 1}, ConfigurationError, "two different"),
        (lambda path: path.mkdir(), {"classes": ["a", "a"]}, ConfigurationError, "two different"),
        (lambda path: path.mkdir(), {"image_size": 0}, ConfigurationError, "image_size 0"),
    ],
)
def test_what_cannot_be_read_is_told_at_once(
    tmp_path: Path,
    make: Callable[[Path], object],
    settings: dict[str, object],
    error: type[StepworksError],
    message: str,
) -> None:
    make(tmp_path / "images")
    with pytest.raises(error, match=message):
        read_images(tmp_path / "images", **{"classes": CLASSES, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"width": 12}, {"width": 0}, {"depth": 0}])
def test_a_network_that_cannot_be_built_is_told(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        build_model(classes=2, **settings)


def test_mirroring_is_of_training_only() -> None:
    torch.manual_seed(0)
    network = build_model(classes=2, width=8, depth=1)
    left = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    left[..., :8] = 200
    assert len(network(left).detach().unique(dim=0).round(decimals=4).unique(dim=0)) == 2
    network.eval()
    assert len(network(left).detach().round(decimals=4).unique(dim=0)) == 1


def test_a_model_learns_the_colours_and_the_folder_answers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, rows in (("train", 192), ("validation", 48)):
        labels = [CLASSES[number % 3] for number in range(rows)]
        write_parquet(tmp_path / name, [noisy(label, random) for label in labels], list(labels))
    spec = TrainingSpec(
        model="stepworks.training.images:build_model",
        data="stepworks.training.images:read_images",
        model_settings={"classes": CLASSES, "width": 8.0, "depth": 1.0},
        data_settings={"classes": CLASSES, "image_size": 12.0},
        inputs={"train": str(tmp_path / "train"), "validation": str(tmp_path / "validation")},
        loop=LoopSettings(epochs=6, batch_size=32, learning_rate=0.01, monitor="validation_accuracy"),
        parallel=ParallelSettings(device="cpu"),
    )
    document = train(spec, Workspace(tmp_path / "run"))
    best = document.epochs[document.best_epoch - 1]
    assert best.figures["validation_accuracy"] > 0.9
    model = load_model(tmp_path / "run" / "model")
    (images,), targets = read_images(tmp_path / "validation", classes=CLASSES, image_size=12).take(torch.arange(48))
    with torch.inference_mode():
        accuracy = (model(images).argmax(dim=1) == targets).double().mean()
    assert float(accuracy) == pytest.approx(best.figures["validation_accuracy"])
