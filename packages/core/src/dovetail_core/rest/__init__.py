"""Fields, pagination and view mixins for Django REST framework. No other module of core imports this package."""
