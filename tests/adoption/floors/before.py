"""A customer of the desk, with a person, a token and a request."""

from __future__ import annotations

from desk.models import Customer, Request
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

dora = User.objects.create_user("dora", email="dora@example.com", password="second-floor")
Token.objects.create(user=dora)
customer = Customer.objects.create(name="Lift Company")
customer.staff.add(dora)
Request.objects.create(customer=customer, subject="It stops between floors.")
