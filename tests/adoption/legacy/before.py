"""A boss and a clerk of a company with a ticket."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company, Employment, Ticket

company = Company.objects.create(name="Old Mill")
for username, kind in (("berta", "boss"), ("carl", "clerk")):
    person = User.objects.create_user(username, f"{username}@example.com", "grain-and-stone")
    Employment.objects.create(person=person, company=company, kind=kind)
Ticket.objects.create(company=company, title="Mend the wheel", author="berta@example.com")
