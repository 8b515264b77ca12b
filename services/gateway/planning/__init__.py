"""From a request and a card to items, or to everything that is wrong with the request."""
