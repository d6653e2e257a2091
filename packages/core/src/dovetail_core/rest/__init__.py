"""What the packages share for Django REST framework. No other module of core imports it."""
