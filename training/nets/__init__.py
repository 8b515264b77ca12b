"""Pure modules: generators, discriminators and the classifier; nothing here knows of losses, data or devices."""
