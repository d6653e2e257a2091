"""JWT sign-in and account endpoints for any user model, and a user model with an e-mail address as username."""
