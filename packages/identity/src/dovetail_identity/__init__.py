"""People: a user model for projects that have none, JWT sign-in and account endpoints for any user model."""
