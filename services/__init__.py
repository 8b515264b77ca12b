"""Gantry's serving side: it reads archives and never imports `training`."""
