"""Data sets as bytes, in memory or decoded as they are asked for, and the streams that serve batches of them."""

from training.data.batches import Batches
from training.data.crops import UnpairedCrops
from training.data.dataset import EVALUABLE, DataError, DatasetInfo, ImageDataset, Split
from training.data.description import describe
from training.data.folders import picture_set_at
from training.data.pool import ImagePool
from training.data.sources import DATASETS, load
from training.data.unpaired import EVALUABLE_DOMAIN, UnpairedDataset, UnpairedInfo, load_unpaired

__all__ = [
    "DATASETS",
    "EVALUABLE",
    "EVALUABLE_DOMAIN",
    "Batches",
    "DataError",
    "DatasetInfo",
    "ImageDataset",
    "ImagePool",
    "Split",
    "UnpairedCrops",
    "UnpairedDataset",
    "UnpairedInfo",
    "describe",
    "load",
    "load_unpaired",
    "picture_set_at",
]
