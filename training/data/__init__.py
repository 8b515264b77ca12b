"""Data sets as bytes, in memory or decoded as they are asked for, and the streams that serve batches of them."""

from training.data.batches import Batches
from training.data.crops import UnpairedCrops
from training.data.dataset import MEMORY_BUDGET, DataError, DatasetInfo, ImageDataset, MissingDataError, Split
from training.data.description import describe
from training.data.folders import SIZES, picture_set_at
from training.data.idx import IdxError
from training.data.pool import ImagePool
from training.data.sources import DATASETS, load
from training.data.unpaired import UnpairedDataset, UnpairedInfo, load_unpaired

__all__ = [
    "DATASETS",
    "MEMORY_BUDGET",
    "SIZES",
    "Batches",
    "DataError",
    "DatasetInfo",
    "IdxError",
    "ImageDataset",
    "ImagePool",
    "MissingDataError",
    "Split",
    "UnpairedCrops",
    "UnpairedDataset",
    "UnpairedInfo",
    "describe",
    "load",
    "load_unpaired",
    "picture_set_at",
]
