"""Projects with other user models. Each runs in its own process, because a process has only one user model."""

from __future__ import annotations

import pytest

from tests.parallel import run_tests


@pytest.mark.parametrize("model", ["Employee", "Person", "Subscriber", "Clerk", "Reader", "Customer"])
def test_project_with_its_own_user_model(model: str) -> None:
    run_tests("identity/own_user_project", "settings_own_user", OWN_USER=model)
