"""The section `dataset`: what is audited."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from ray_audit.config.categories import document_values, is_document
from ray_audit.config.class_files import named_classes
from ray_audit.config.cutting import (
    ClipConfig,
    EpisodesConfig,
    FoldConfig,
    TileConfig,
    VolumeConfig,
)
from ray_audit.config.labels import LabelsConfig
from ray_audit.config.section import Section, Uri
from ray_audit.layouts import Expansion, expanded
from ray_audit.task import Task

_Classes = Annotated[list[str | int], Field(min_length=1)] | dict[str, str | int] | str


class DatasetConfig(Section):
    """The dataset: what is audited, and what its labels are."""

    # Never dumped: a manifest holds what they stand for, whatever a later recipe says.
    layout: Annotated[str, Field(min_length=1)] | None = Field(None, exclude=True)
    """A published layout that stands for the keys below (`ray-audit layouts` lists them), or the
    file of a recipe of your own (`.yaml`). Keys that are given beside it win."""
    root: Uri | None = Field(None, exclude=True)
    """The folder in which a dataset of that layout lies. Goes with layout."""
    kind: Literal["video", "images", "sequences"]
    """What a shard holds; sequences are feature sequences in npy or npz."""
    uri: Uri | list[Uri]
    """A glob, a path or a list of them; local, `s3://`, or any fsspec URI."""
    labels: LabelsConfig
    """Where the labels are."""
    classes: Annotated[
        list[str],
        Field(min_length=1),
        BeforeValidator(lambda given: given, json_schema_input_type=_Classes),
    ]
    """Class names in index order; or a mapping of numbers and names; or a file of either, JSON,
    YAML or text with a name a line. Labels may be names or indices (`values` where both)."""
    void: list[int | str] = []
    """Label values that mean "not labelled"."""
    clip: ClipConfig = ClipConfig()
    """How a video or a sequence is cut."""
    tile: TileConfig | None = None
    """How a large image with a mask is cut; the whole image where absent."""
    volume: VolumeConfig | None = None
    """How volumes are cut into slices: NIfTI, MetaImage, NRRD, DICOM; pages of TIFF and GIF only
    where this is given. Goes with images."""
    episodes: EpisodesConfig | None = None
    """Several videos in one file, as in LeRobot 3: each is a video of its own, whose frames count
    from 0. Goes with video."""
    max_px: Annotated[float, Field(gt=0)] = 3.0e8
    """A larger image, or video frame, is refused before it is decoded, in pixels; so is one of more
    than 256 MiB of pixels and 100 times the stored bytes of its file."""
    split: Uri | None = None
    """A text file that names a key, path, file name or stem a line, as `ImageSets` of PASCAL VOC
    and `.bundle` files do: only these are audited. In containers (npz, tar, Parquet, HDF5) it names
    what lies in them, a folder there, or the file for all that it holds."""
    fold: FoldConfig | None = None
    """A part of the dataset; everything where absent."""
    orientation: Literal["stored", "display"] = "stored"
    """Of a video's frames. stored: as decoded; display: turned and mirrored by the file's display
    matrix, as players do. Goes with video."""
    axes: Literal["TD", "DT"] = "TD"
    """Of feature arrays. TD: one row per frame; DT: one column per frame. Goes with sequences."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames a second of feature sequences, which gives them a clock for labels in seconds. Goes
    with sequences."""

    _expansion: Expansion | None = PrivateAttr(None)

    @property
    def expansion(self) -> Expansion | None:
        """What `layout` stands for; None where there is none."""
        return self._expansion

    @property
    def frame_s(self) -> float:
        """Seconds a frame of a sequence; 1 where it has no clock, and nothing is in seconds."""
        return 1.0 if self.fps is None else 1.0 / self.fps

    @property
    def is_by_frame(self) -> bool:
        """Whether each image, frame or slice with a mask goes to the model alone, not in a clip."""
        is_alone = self.clip.frames == 1 or (self.kind == "images" and self.volume is None)
        return self.labels.masks is not None and is_alone

    @property
    def has_drawn_masks(self) -> bool:
        """Whether masks are made of something else, and are written anew as index masks."""
        is_of_several = self.kind == "images" and "*" in (self.labels.masks or "")
        return self.labels.is_drawn or is_of_several

    @property
    def task(self) -> Task:
        """What a label of this dataset belongs to."""
        if self.labels.masks is not None:
            return Task.DENSE
        if self.kind == "images":
            return Task.CLASS
        return Task.CLIPS if self.labels.form in ("videos", "folder") else Task.FRAMES

    @model_validator(mode="wrap")
    @classmethod
    def _layout_expanded(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict) or values.get("layout") is None:
            if isinstance(values, dict) and values.get("root") is not None:
                raise ValueError("root goes with layout, which says how the dataset lies below it")
            return handler(values)
        expansion = expanded(values)
        names = {"layout": values["layout"], "root": expansion.root}
        self = handler({**expansion.values, **names})
        self._expansion = expansion
        return self

    @model_validator(mode="before")
    @classmethod
    def _classes_as_given(cls, values: Any) -> Any:
        """Names in index order; where they come with numbers, labels are these numbers."""
        if not isinstance(values, dict) or "classes" not in values:
            return values
        names, first, meant = named_classes(values["classes"])
        values = {**values, "classes": names}
        labels = values.get("labels")
        if not isinstance(labels, dict) or labels.get("values") is not None:
            return values
        if meant is not None and labels.get("first_value") is None:
            return {**values, "labels": {**labels, "values": meant}}
        if not first:
            return values
        if labels.get("first_value") not in (None, first):
            raise ValueError(
                f"classes count from {first}, and labels.first_value is {labels['first_value']}: "
                "give one of them, or labels.values"
            )
        return {**values, "labels": {**labels, "first_value": first}}

    @model_validator(mode="before")
    @classmethod
    def _categories_as_values(cls, values: Any) -> Any:
        """What the numbers of a COCO document mean becomes part of the specification."""
        labels = values.get("labels") if isinstance(values, dict) else None
        if not isinstance(labels, dict) or "classes" not in values:
            return values
        masks, given = labels.get("masks"), labels.get("values")
        uri = masks if is_document(masks) else labels.get("panoptic")
        if not isinstance(uri, str) or isinstance(given, str):
            return values
        if is_document(masks):
            labels = {"overlap": "last", **labels}
        if not given or any(not str(key).isdecimal() for key in given):
            names = named_classes(values["classes"]).names
            labels = labels | {"values": document_values(uri, given, names)}
        return {**values, "labels": labels}

    @model_validator(mode="before")
    @classmethod
    def _masks_are_of_single_frames(cls, values: Any) -> Any:
        """Most models of masks look at one frame: a clip of several must be asked for."""
        if not isinstance(values, dict):
            return values
        if values.get("kind") != "video" and values.get("volume") is None:
            return values
        labels, clip = values.get("labels"), values.get("clip", {})
        if not isinstance(labels, dict) or not labels.get("masks") or not isinstance(clip, dict):
            return values
        return {**values, "clip": {"frames": 1, **clip}}

    @model_validator(mode="after")
    def _clock_fits_the_kind(self) -> Self:
        if self.axes != "TD" and self.kind != "sequences":
            raise ValueError(f"axes goes with kind sequences; got kind {self.kind}")
        uris = [self.uri] if isinstance(self.uri, str) else self.uri
        of_folders = self.kind == "video" and any(uri.endswith("/") for uri in uris)
        if self.fps is not None and self.kind != "sequences" and not of_folders:
            raise ValueError(
                f"fps goes with kind sequences, whose arrays have no clock, and with folders of "
                f"frames (uri: frames/*/); got kind {self.kind}"
            )
        if self.fps is None and of_folders:
            raise ValueError("fps is missing: images in folders have no clock; give their rate")
        if self.episodes is not None and (self.kind != "video" or of_folders):
            raise ValueError(f"episodes goes with kind video and files; got kind {self.kind}")
        if self.volume is not None and self.kind != "images":
            raise ValueError(f"volume goes with kind images; got kind {self.kind}")
        if self.orientation != "stored" and self.kind != "video":
            raise ValueError(f"orientation goes with kind video; got kind {self.kind}")
        return self

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> Self:
        allowed = {
            "video": ("frames", "segments", "videos", "folder", "masks"),
            "images": ("masks", "images", "folder", "column"),
            "sequences": ("arrays", "frames", "segments"),
        }[self.kind]
        if self.labels.form not in allowed:
            raise ValueError(
                f"labels.{self.labels.form} does not go with kind {self.kind}; "
                f"expected one of {', '.join(allowed)}"
            )
        if self.labels.is_drawn and self.kind != "images":
            raise ValueError(
                "labels.number and masks of a COCO document go with image files; got kind "
                f"{self.kind}"
            )
        if self.labels.has_mask_table and self.kind != "images":
            raise ValueError(
                "labels.masks: a table of masks goes with images; got kind video, whose masks are "
                "found by a template such as masks/{stem}/*.png"
            )
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"classes: names must be unique, and {twice[0]!r} is there twice")
        if self.tile is not None and self.labels.form != "masks":
            raise ValueError("tile goes with labels.masks only: a tile has no label of its own")
        if self.tile is not None and self.kind == "video" and self.clip.frames != 1:
            raise ValueError("tile does not go with clips of several frames; give clip.frames: 1")
        return self
