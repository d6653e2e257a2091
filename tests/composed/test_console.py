"""The console page in a real browser, served by a single process."""

from __future__ import annotations

import sys

import pytest

from tests.composed.browser import CHROMIUM, Tab, chromium
from tests.composed.journeys import sign_in
from tests.composed.processes import call, free_port, running, wait_until_up

SIGN_IN = """
(() => {
  document.querySelector("[name=email]").value = "ada@example.com"
  document.querySelector("[name=password]").value = "demo-password"
  document.querySelector("#sign-in").requestSubmit()
})()
"""
ITEMS = 'document.querySelectorAll("#notifications li").length'
UNREAD = 'document.querySelector("#unread").textContent'


def _signed_in(tab: Tab) -> Tab:
    tab.wait_for('document.readyState === "complete" && document.querySelector("#sign-in")?.onsubmit')
    tab.evaluate(SIGN_IN)
    tab.wait_for('document.querySelector("#status").textContent === "Connected."', 30)
    return tab


def pay(base: str, number: int) -> None:
    """Mark invoices of Acme as paid as Grace, so that its owner Ada is notified."""
    grace = sign_in(base, "grace@example.com")
    acme = next(
        row["id"] for row in call("GET", f"{base}/api/v1/organizations", **grace)[1]["data"] if row["name"] == "Acme"
    )
    inside = {**grace, "X_Organization_ID": acme}
    invoices = call("GET", f"{base}/api/v1/invoices", **inside)[1]["data"]
    unpaid = [row for row in invoices if row["status"] != "paid"]
    for row in unpaid[:number]:
        status, answer = call("PATCH", f"{base}/api/v1/invoices/{row['id']}", {"status": "paid"}, **inside)
        assert status == 200, answer


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to show the page in")
def test_tabs_show_new_and_read_notifications(demo_database_url, tmp_path):
    pytest.importorskip("websockets")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=demo_database_url) as server:
        wait_until_up(server, port)
        with chromium(tmp_path / "profile") as open_tab:
            first, second = (_signed_in(open_tab(f"{base}/console/")) for _ in range(2))
            before = int(first.evaluate(ITEMS))
            pay(base, 2)
            for tab in (first, second):
                # The notification was committed before the call returned.
                print(f"shown after {tab.wait_for(f'{ITEMS} === {before + 2}'):.2f} s")
            unread = before + 2
            for tab in (first, second):
                tab.wait_for(f'{UNREAD} === "{unread}"')
            assert "was paid" in str(first.evaluate('document.querySelector("#notifications li").textContent'))
            first.evaluate('document.querySelector("#notifications li button").click()')
            second.wait_for(f'{UNREAD} === "{unread - 1 or ""}"')
            second.wait_for('document.querySelector("#notifications li").dataset.read === "true"')
            second.evaluate('document.querySelector("#read-all").click()')
            first.wait_for(f'{UNREAD} === ""')
        log = server.log.read_text()  # type: ignore[attr-defined]
    assert "/ws/notifications/" in log
    assert "ticket." not in log
    assert "eyJ" not in log
    assert "Traceback" not in log
