"""Pure modules: generators, discriminators and the judge; nothing here knows of losses, data or devices."""
