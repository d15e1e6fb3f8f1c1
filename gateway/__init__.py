"""The router: believes only signed and trusted adverts, and carries each request to a node that offers its model."""
