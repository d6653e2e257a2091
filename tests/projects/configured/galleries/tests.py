from __future__ import annotations

from django.contrib.auth.models import User
from django.test import TestCase

from galleries.models import Gallery, Page, Picture


class GalleryTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.curator = User.objects.create_user("clara", password="oil-on-canvas")
        gallery = Gallery.objects.create(name="North Wing")
        gallery.curators.add(cls.curator)
        Picture.objects.create(gallery=gallery, title="Still Life")
        Picture.objects.create(gallery=Gallery.objects.create(name="South Wing"), title="Harbour")

    def test_curators_list_the_pictures_of_their_galleries(self) -> None:
        self.client.login(username="clara", password="oil-on-canvas")
        assert [picture["title"] for picture in self.client.get("/pictures/").json()] == ["Still Life"]

    def test_strangers_get_the_refusal_of_rest_framework(self) -> None:
        response = self.client.get("/pictures/")
        assert response.status_code == 403
        assert response.json()["detail"] == "Authentication credentials were not provided."

    def test_catch_all_serves_pages(self) -> None:
        Page.objects.create(address="visit/hours", text="Ten to six.")
        assert self.client.get("/visit/hours/").content == b"Ten to six."
        response = self.client.get("/nowhere/")
        assert response.status_code == 404
        assert response["Content-Type"].startswith("text/html")
