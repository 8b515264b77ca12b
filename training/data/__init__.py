"""Data sets as bytes, in memory or decoded as they are asked for, and the streams that serve batches of them."""

from training.data.batches import Batches
from training.data.crops import PairedCrops, UnpairedCrops
from training.data.dataset import EVALUABLE, DataError, DatasetInfo, ImageDataset, Split
from training.data.description import describe
from training.data.domains import EVALUABLE_DOMAIN, DomainsDataset, DomainsInfo
from training.data.folders import picture_set_at
from training.data.paired import PairedDataset, load_paired
from training.data.pool import ImagePool
from training.data.sources import DATASETS, load
from training.data.unpaired import UnpairedDataset, load_unpaired

__all__ = [
    "DATASETS",
    "EVALUABLE",
    "EVALUABLE_DOMAIN",
    "Batches",
    "DataError",
    "DatasetInfo",
    "DomainsDataset",
    "DomainsInfo",
    "ImageDataset",
    "ImagePool",
    "PairedCrops",
    "PairedDataset",
    "Split",
    "UnpairedCrops",
    "UnpairedDataset",
    "describe",
    "load",
    "load_paired",
    "load_unpaired",
    "picture_set_at",
]
