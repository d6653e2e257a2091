"""PostgreSQL's row-level security: the database hides the rows that the ORM's conditions missed."""
