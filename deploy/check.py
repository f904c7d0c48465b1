"""Checks the files of this folder; check.sh calls it.

Every file must parse, and what the dashboard and the alerts ask for must be what a running miner exports,
and the other way round: a metric that nobody looks at is a mistake too.
"""

import configparser
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DASHBOARD = HERE / "grafana" / "dashboards" / "convminer.json"
ALERTS = HERE / "prometheus" / "alerts.yml"
METRIC = re.compile(r"\b(?:convminer|process)_[a-z_]+\b")
LABEL = re.compile(r'\b(outcome|phase|converted|result)=~?"([^"$]+)"')
PATIENCE_SECONDS = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def exported(binary):
    """What a running miner says at /metrics, when it has refused a file, so that all names are there."""
    with tempfile.TemporaryDirectory() as folder:
        metagraph = Path(folder) / "metagraph.json"
        metagraph.write_text("[]")
        port = free_port()
        command = [binary, "serve", f"--checkpoint={ROOT / 'checkpoints/default'}"]
        command += ["--axon.ip=127.0.0.1", "--axon.port=0", f"--metagraph={metagraph}"]
        command += [f"--admin.listen=127.0.0.1:{port}", f"--state-dir={folder}/state"]
        log = Path(folder) / "log"
        with log.open("w") as output:
            # Without a wallet of this user.
            miner = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=folder, env={"HOME": folder}
            )
            try:
                text = wait_for(port, miner, "convminer_uptime_seconds")
                metagraph.write_text("no metagraph")
                text = wait_for(port, miner, 'result="refused"')
            except Exception:
                print(log.read_text(), file=sys.stderr)
                raise
            finally:
                miner.terminate()
                miner.wait()
    return text


def wait_for(port, miner, part):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and miner.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            if part in text:
                return text
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"/metrics never had {part}")


def series(text):
    """The names of the series in an exposition, and the values of each label."""
    names, labels = set(), {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            names.add(re.match(r"[a-z_]+", line)[0])
            for label, value in re.findall(r'(\w+)="([^"]*)"', line):
                labels.setdefault(label, set()).add(value)
    return names, labels


def expressions():
    """Every query, with where it stands."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel `{panel['title']}`", target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield f"variable `{variable['name']}`", variable["definition"]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert `{rule['alert']}`", rule["expr"]


def check_metrics(binary):
    names, labels = series(exported(binary))
    asked = set()
    for where, expression in expressions():
        for name in METRIC.findall(expression):
            assert name in names, f"{where} asks for {name}, which the miner does not export"
            asked.add(name)
        for label, values in LABEL.findall(expression):
            for value in values.split("|"):
                assert value in labels[label], f"{where}: there is no {label}={value}"
    suffix = re.compile(r"_(bucket|sum|count|created)$")
    families = {suffix.sub("", name) for name in names}
    unseen = families - {suffix.sub("", name) for name in asked}
    assert not unseen, f"nobody looks at {', '.join(sorted(unseen))}"
    print(f"metrics: {len(families)} exported, all of them used, none besides")


def check_dashboard():
    dashboard = json.loads(DASHBOARD.read_text())
    sources = yaml.safe_load(
        (HERE / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    uids = {source["uid"] for source in sources["datasources"]}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "two panels have one id"
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, f"`{panel['title']}` is too wide"
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"`{panel['title']}` lies on another panel"
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] in uids, f"`{panel['title']}` has no source"
    print(f"dashboard: {len(panels)} panels")


def check_queries():
    """Each query of the dashboard, as Prometheus itself reads it."""
    fixed = {"$__rate_interval": "5m", "$__range": "6h", "$instance": ".*"}
    rules = []
    for where, expression in expressions():
        if where.startswith("panel"):
            for variable, value in fixed.items():
                expression = expression.replace(variable, value)
            rules.append({"record": f"panel:{len(rules)}", "expr": expression})
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        subprocess.run(["promtool", "check", "rules", file.name], check=True)


def check_image():
    """What .dockerignore lets through is enough for Cargo, and is all that the Dockerfile copies."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*", "everything is left out first"
    allowed = [line.removeprefix("!") for line in lines[1:]]
    dockerfile = (HERE / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) /", dockerfile, re.MULTILINE):
        assert source in allowed, f"the Dockerfile copies {source}, which .dockerignore leaves out"
    with tempfile.TemporaryDirectory() as folder:
        for name in allowed:
            source, copy = ROOT / name, Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", source, copy], check=True)
        command = ["cargo", "metadata", "--locked", "--format-version=1"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    manifest = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^rust-version = "([\d.]+)"', manifest, re.MULTILINE)[1]
    assert f"FROM rust:{version}." in dockerfile, f"the image is not built with Rust {version}"
    print("image: its context is whole")


def check_settings(binary):
    """Every CONVMINER_ variable in these files is a setting."""
    known = subprocess.run(
        [binary, "config", "--json"], check=True, capture_output=True, text=True, cwd="/"
    )
    known = set(re.findall(r"CONVMINER_[A-Z_]+", known.stdout)) or settings(binary)
    used = set()
    for name in ["Dockerfile", "compose.yaml", "convminer.env", "healthcheck.sh"]:
        used |= set(re.findall(r"CONVMINER_[A-Z_]+[A-Z]", (HERE / name).read_text()))
    assert used <= known, f"no settings: {', '.join(sorted(used - known))}"
    print(f"settings: {len(used)} used, all known")


def settings(binary):
    """The variables of the flags that `serve --help` names."""
    text = subprocess.run([binary, "serve", "--help"], check=True, capture_output=True, text=True)
    flags = re.findall(r"--([a-z][a-z._-]+)", text.stdout)
    return {"CONVMINER_" + re.sub(r"[-.]", "_", flag).upper() for flag in flags}


def check_unit():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(HERE / "convminer.service")
    service = unit["Service"]
    assert service["User"] != "root" and service["NoNewPrivileges"] == "yes"
    assert service["StateDirectory"] == Path(service["WorkingDirectory"]).name
    print("unit: as it should be")


def check_compose():
    services = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert "mem_limit" in service and "pids_limit" in service, f"{name} has no limits"
        image = service["image"]
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", image), f"{image} floats"
        for port in service.get("ports", []):
            open_to_all = not port.startswith("127.0.0.1:")
            assert not open_to_all or name == "miner", f"{name} is open to all at {port}"
        for volume in service.get("volumes", []):
            source = HERE / volume.split(":")[0]
            if volume.startswith("./"):
                assert source.exists(), f"{name} mounts {volume}, which is not there"
    print(f"compose: {', '.join(services)}")


if __name__ == "__main__":
    check_unit()
    check_compose()
    check_dashboard()
    check_queries()
    check_image()
    check_settings(sys.argv[1])
    check_metrics(sys.argv[1])
