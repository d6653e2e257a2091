"""SQL that the ORM compiles once and that is executed many times."""
