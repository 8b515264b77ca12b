"""Packs generators, trained here or not, into archives: the only contract between training and serving."""
