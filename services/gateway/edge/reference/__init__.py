"""The pages under `/docs`: the reference, generated from the OpenAPI document, and the guides of the repository."""
