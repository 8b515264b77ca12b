"""Data sets as tensors of bytes, and the source that serves batches of them from the training device."""

from training.data.dataset import DatasetInfo, ImageDataset, MissingDataError
from training.data.idx import IdxError
from training.data.resident import ResidentBatches
from training.data.sources import DATASETS, load

__all__ = ["DATASETS", "DatasetInfo", "IdxError", "ImageDataset", "MissingDataError", "ResidentBatches", "load"]
