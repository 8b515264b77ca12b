"""Trains generative adversarial networks and packs them into archives; never imports `services`."""
