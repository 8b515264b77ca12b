"""What `helm test` runs next: has the gateway make a picture, or translate one, and fails unless it can be opened."""

import os

from PIL import Image

from services.client import Client, Credentials

with Client(os.environ["GANTRY_ADDRESS"], timeout=120.0, credentials=Credentials.from_environment()) as client:
    name = os.environ["GANTRY_TEST_MODEL"]
    cards = [loaded.card for loaded in client.models() if name in ("", loaded.card.name)]
    if not cards:
        raise SystemExit(f"the gateway has no model {name}".rstrip())
    # Sampling needs nothing to begin with, so it is what is tried where there is a choice.
    card = min(cards, key=lambda card: card.HasField("translation"))
    if card.HasField("translation"):
        source = card.graphs[0].source_domain
        picture = client.translate(card.name, Image.new("RGB", (64, 64), "grey"), source=source)
    else:
        (picture,) = client.sample(card.name, seed=1)
picture.image.load()
print(f"{card.name}: {picture.image.format} of {picture.image.width}×{picture.image.height} pixels")
