"""Batch jobs over folders and object stores: many pictures through a gateway, resumable, in shards. Needs no torch."""
