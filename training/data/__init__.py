"""Data sets in memory as bytes, and the streams that serve batches of them from the training device."""

from training.data.crops import UnpairedCrops
from training.data.dataset import DatasetInfo, ImageDataset, MissingDataError, Split
from training.data.idx import IdxError
from training.data.pool import ImagePool
from training.data.resident import ResidentBatches
from training.data.sources import DATASETS, load
from training.data.unpaired import UnpairedDataError, UnpairedDataset, UnpairedInfo, load_unpaired, name_at

__all__ = [
    "DATASETS",
    "DatasetInfo",
    "IdxError",
    "ImageDataset",
    "ImagePool",
    "MissingDataError",
    "ResidentBatches",
    "Split",
    "UnpairedCrops",
    "UnpairedDataError",
    "UnpairedDataset",
    "UnpairedInfo",
    "load",
    "load_unpaired",
    "name_at",
]
