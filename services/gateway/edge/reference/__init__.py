"""The pages under `/docs`: the reference made of the OpenAPI document, and the guides of the repository."""
