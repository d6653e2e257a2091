"""A curator with a gallery, a picture and a page."""

from __future__ import annotations

from django.contrib.auth.models import User
from galleries.models import Gallery, Page, Picture

clara = User.objects.create_user("clara", email="clara@example.com", password="oil-on-canvas")
gallery = Gallery.objects.create(name="North Wing")
gallery.curators.add(clara)
Picture.objects.create(gallery=gallery, title="Still Life")
Page.objects.create(address="visit", text="Ten to six.")
