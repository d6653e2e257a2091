"""The permissions that exist: of models, of resources and of jobs."""
