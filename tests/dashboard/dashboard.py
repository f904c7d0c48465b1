"""Tests of the dashboard in a browser. Run by `run.sh`. Needs no internet and no fixed port."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from browser import Browser

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ASKED = 20
PHONE = 375


class Miner:
    """A running `convminer serve` that anybody on this machine may ask."""

    def __init__(self, binary, checkpoint):
        self.binary = binary
        names = (name for name in os.environ if not name.startswith("CONVMINER_"))
        self.environment = {name: os.environ[name] for name in names}
        command = [binary, "serve", "--axon.ip=127.0.0.1", "--axon.port=0", "--allow-unregistered"]
        # Nothing is written into the repository, and no truth of its user is shown.
        self.outcomes = tempfile.TemporaryDirectory(prefix="convminer-outcomes-")
        command += ["--admin.listen=127.0.0.1:0", "--journal=off"]
        command += ["--outcomes", self.outcomes.name]
        if checkpoint:
            command += ["--checkpoint", checkpoint]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        assert line, "the miner did not start"
        ready = json.loads(line)
        self.axon, self.hotkey = ready["listening"], ready["hotkey"]
        self.page = f"http://{ready['admin']}/"

    def ask(self, count):
        """Sends real requests, as a validator does."""
        command = [self.binary, "--quiet", "query", "--json", "--axon", self.axon]
        command += ["--hotkey", self.hotkey, "--limit", str(count)]
        command += ["--data", "datasets/conversations.parquet"]
        subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.DEVNULL, check=True
        )

    def provoke(self):
        """Sends a request that is refused for a reason that would be HTML if it were taken so."""
        headers = {"timeout": "<img src=x onerror=alert(1)>"}
        url = f"http://{self.axon}/ConversionSynapse"
        try:
            urllib.request.urlopen(urllib.request.Request(url, b"{}", headers))
        except urllib.error.HTTPError as error:
            assert error.code == 400, error.code
        else:
            raise AssertionError("the request was answered")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def text(browser, selector):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent")


def opens_and_is_live(browser, miner):
    browser.size(1280, 900)
    browser.prefer("light")
    browser.open(miner.page)
    browser.wait_for("document.body.dataset.connection === 'live'", "no events came")
    assert text(browser, "#state-text") == "live", text(browser, "#state-text")
    assert "No truths known yet" in text(browser, "#truths")


def shows_requests_as_they_come(browser, miner):
    requests = "latest.total.outcomes.answered"
    before = browser.evaluate(requests)
    miner.ask(ASKED)
    browser.wait_for(f"{requests} >= {before + ASKED}", "the answers were not counted")
    assert browser.evaluate("document.querySelectorAll('#requests-chart rect.s1').length") > 0
    assert browser.evaluate("document.querySelectorAll('#latency-chart .s1').length") > 0
    assert browser.evaluate("document.querySelectorAll('#confidence-chart rect').length") == 10
    assert browser.evaluate("document.querySelectorAll('#validators tbody th .key').length") > 0
    median = text(browser, ".card:nth-of-type(3) .value")
    assert median.endswith(("s", "ms", "\u00b5s")), median


def shows_what_callers_send_as_text(browser, miner):
    miner.provoke()
    errors = "document.querySelector('#errors tbody').textContent"
    browser.wait_for(f"{errors}.includes('onerror')", "the refusal was not shown")
    assert browser.evaluate("document.querySelectorAll('#errors img').length") == 0


def changes_its_time_and_its_colors(browser, _):
    for span in ["1m", "24h", "1h"]:
        browser.evaluate(f"document.querySelector('input[value=\"{span}\"]').click()")
        name = browser.evaluate(f"SPANS['{span}']")
        assert text(browser, ".span-name") == name, name
    page = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(page)
    browser.evaluate("document.querySelector('#theme').click()")
    dark = browser.evaluate(page)
    assert light != dark, light
    browser.evaluate("document.querySelector('#theme').click()")
    assert browser.evaluate(page) == light
    # The choice of the operator comes before that of the system.
    browser.prefer("dark")
    assert browser.evaluate(page) == light
    browser.evaluate("delete document.documentElement.dataset.theme; localStorage.clear()")
    assert browser.evaluate(page) == dark


def fits_a_phone(browser, _):
    browser.size(PHONE, 812, is_phone=True)
    fits = f"innerWidth === {PHONE} && document.documentElement.scrollWidth <= {PHONE}"
    browser.wait_for(fits, "the page is wider than the screen")


def asks_nobody_else_and_complains_of_nothing(browser, miner):
    complaints = browser.complaints()
    assert not complaints, complaints
    requests = browser.requests()
    elsewhere = [url for url in requests if not url.startswith((miner.page, "data:", "about:"))]
    assert requests and not elsewhere, elsewhere


def says_when_the_connection_is_lost(browser, miner):
    miner.stop()
    browser.wait_for("document.body.dataset.connection === 'lost'", "nothing was said")
    assert not browser.evaluate("document.querySelector('#lost').hidden")


TESTS = [
    opens_and_is_live,
    shows_requests_as_they_come,
    shows_what_callers_send_as_text,
    changes_its_time_and_its_colors,
    fits_a_phone,
    asks_nobody_else_and_complains_of_nothing,
    says_when_the_connection_is_lost,
]


def take_pictures(browser, folder):
    for name, width, scheme in [
        ("light", 1280, "light"),
        ("dark", 1280, "dark"),
        ("phone", PHONE, "light"),
        ("phone-dark", PHONE, "dark"),
    ]:
        browser.prefer(scheme)
        browser.size(width, 900, is_phone=width == PHONE)
        height = browser.evaluate("document.documentElement.scrollHeight")
        browser.size(width, height, is_phone=width == PHONE)
        browser.evaluate("new Promise(done => setTimeout(done, 1500))")
        browser.screenshot(pathlib.Path(folder) / f"dashboard-{name}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--browser", required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--pictures")
    arguments = parser.parse_args()
    miner = Miner(arguments.binary, arguments.checkpoint)
    try:
        with Browser(arguments.browser) as browser:
            for test in TESTS:
                if arguments.pictures and test is says_when_the_connection_is_lost:
                    take_pictures(browser, arguments.pictures)
                test(browser, miner)
                print(f"ok      {test.__name__}", flush=True)
    finally:
        if miner.process.poll() is None:
            miner.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
