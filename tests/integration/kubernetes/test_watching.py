"""Dashboards and alerts ask for what the services tell, in words that a real Prometheus knows."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from slipway_local.ports import Ports
from slipway_local.settings import read_settings
from support import sample_metrics
from support.waiting import wait_for

DASHBOARDS = ("scheduler", "services")
ALERTS = ("scheduler", "services")
GRID_COLUMNS = 24


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = httpx2.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=10)
        content = answer.json()
        assert content["status"] == "success", (query, content)
        result: list[dict[str, Any]] = content["data"]["result"]
        return result


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real one, which reads every metric that there is, several times a second."""
    folder = tmp_path_factory.mktemp("prometheus")
    ports = Ports(read_settings().cache_folder / "ports", {})
    samples, own = ports.take("samples"), ports.take("prometheus")
    scrape = {"job_name": "slipway", "static_configs": [{"targets": [f"127.0.0.1:{samples}"]}]}
    configuration = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    log = (folder / "log").open("w")
    program = shutil.which("prometheus")
    assert program is not None, "Debian's package prometheus is needed"
    started = [
        subprocess.Popen([sys.executable, sample_metrics.__file__, str(samples)], stderr=log),
        subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own}",
            ],
            stdout=log,
            stderr=log,
        ),
    ]
    found = Prometheus(f"http://127.0.0.1:{own}")

    def has_seen_enough() -> bool:
        try:
            return bool(found.ask("rate(slipway_node_look_seconds_count[5m]) > 0"))
        except httpx2.TransportError:
            return False

    try:
        wait_for(has_seen_enough, what="a Prometheus that has read twice")
        yield found
    finally:
        for process in started:
            process.terminate()
            process.wait(10)
        log.close()
        ports.release()


def dashboard(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "dashboards" / f"{name}.json").read_text())
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def rules(folder: Path, name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((folder / "alerts" / f"{name}.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries(folder: Path) -> list[str]:
    return [
        target["expr"]
        for name in DASHBOARDS
        for panel in panels(dashboard(folder, name))
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_one_that_grafana_can_show(manifests_folder: Path, name: str):
    board = dashboard(manifests_folder, name)

    assert board["uid"] == f"slipway-{name}"
    assert board["schemaVersion"] >= 36
    assert [one["type"] for one in board["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= GRID_COLUMNS
        taken |= cells
    for panel in panels(board):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == sorted(
            {target["refId"] for target in panel["targets"]}
        )
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["legendFormat"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_dashboard_finds_what_the_services_tell(
    manifests_folder: Path, prometheus: Prometheus, name: str
):
    for panel in panels(dashboard(manifests_folder, name)):
        for target in panel["targets"]:
            found = prometheus.ask(target["expr"])
            assert found, (panel["title"], target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert all(label in series["metric"] for series in found), target["expr"]


def test_every_metric_is_on_a_dashboard(manifests_folder: Path):
    shown = " ".join(queries(manifests_folder))

    missing = [each._name for each in sample_metrics.all_metrics() if each._name not in shown]

    assert missing == []


@pytest.mark.parametrize("name", ALERTS)
def test_prometheus_takes_the_rules(manifests_folder: Path, name: str):
    done = subprocess.run(
        ["promtool", "check", "rules", str(manifests_folder / "alerts" / f"{name}.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_can_be_asked_and_says_what_to_do(
    manifests_folder: Path, prometheus: Prometheus, name: str
):
    for rule in rules(manifests_folder, name):
        prometheus.ask(rule["expr"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
        for metric in re.findall(r"slipway_\w+", rule["expr"]):
            assert prometheus.ask(metric), metric


BUCKETS = "slipway_session_start_seconds_bucket"
LAG = "slipway_outbox_lag_seconds_bucket"
HTTP = "slipway_http_requests_total"
TROUBLE: dict[str, dict[str, str]] = {
    "SlipwaySessionsDoNotStart": {
        'slipway_sessions_wanted{pod="a"}': "3x60",
        'slipway_sessions_wanted{pod="b"}': "2x60",
        'slipway_sessions_running{pod="a"}': "4x60",
        'slipway_sessions_running{pod="b"}': "4x60",
    },
    "SlipwayNoSessionRuns": {
        'slipway_sessions_wanted{pod="a"}': "1x60",
        'slipway_sessions_wanted{pod="b"}': "0x60",
        'slipway_sessions_running{pod="a"}': "0x60",
        'slipway_sessions_running{pod="b"}': "0x60",
    },
    "SlipwaySessionsStartSlowly": {
        f'{BUCKETS}{{le="60"}}': "0x60",
        f'{BUCKETS}{{le="180"}}': "0+10x60",
        f'{BUCKETS}{{le="+Inf"}}': "0+10x60",
    },
    "SlipwaySchedulerCannotAct": {"slipway_session_action_failures_total": "0+60x60"},
    "SlipwayClusterUnseen": {'slipway_kubernetes_mirror_age_seconds{resource="pods"}': "0+60x60"},
    "SlipwayApiServerRefuses": {'slipway_kubernetes_requests_total{status="429"}': "0+60x60"},
    "SlipwayMirrorFilledOften": {'slipway_kubernetes_relists_total{resource="pods"}': "0+1x60"},
    "SlipwayWarmPoolHeld": {'slipway_warm_pools_held{runtime="r",profile="p"}': "1x60"},
    "SlipwayPodsWaitForNodes": {'slipway_node_pods_waiting{pool="p"}': "2x60"},
    "SlipwayNodesFail": {'slipway_node_failures_total{pool="p"}': "0+1x60"},
    # Nobody has ever led: no node of any pool was ever looked at.
    "SlipwayNobodyLooksAfterNodes": {
        'slipway_node_leader{pod="a"}': "0x60",
        'slipway_node_leader{pod="b"}': "0x60",
        'slipway_node_pools{pod="a"}': "2x60",
        'slipway_node_pools{pod="b"}': "2x60",
    },
    "SlipwayUnseen": {"something_else": "1x60"},
    "SlipwayDeadLetters": {
        'slipway_events_handled_total{topic="t",outcome="dead"}': "0x50 1x10",
    },
    "SlipwayOutboxStands": {"slipway_outbox_backlog": "7x60"},
    "SlipwayOutboxSlow": {
        f'{LAG}{{le="0.25"}}': "0x60",
        f'{LAG}{{le="1"}}': "0+10x60",
        f'{LAG}{{le="+Inf"}}': "0+10x60",
    },
    "SlipwayRequestsFail": {
        f'{HTTP}{{status="200"}}': "0+90x60",
        f'{HTTP}{{status="503"}}': "0+10x60",
    },
    "SlipwayPeriodicStepFails": {'slipway_periodic_failures_total{step="s"}': "0+1x60"},
    "SlipwayRefusalsJump": {'slipway_security_refused_total{rule="r"}': "0x52 0+600x8"},
}
"""Alert → series, one value a minute, by which it fires within the hour."""

CALM: dict[str, dict[str, str]] = {
    "SlipwaySessionsDoNotStart": {
        'slipway_sessions_wanted{pod="a"}': "3x60",
        'slipway_sessions_wanted{pod="b"}': "2x60",
        'slipway_sessions_running{pod="a"}': "5x60",
        'slipway_sessions_running{pod="b"}': "5x60",
    },
    "SlipwayNoSessionRuns": {
        'slipway_sessions_wanted{pod="a"}': "5x60",
        'slipway_sessions_wanted{pod="b"}': "0x60",
        'slipway_sessions_running{pod="a"}': "1x60",
        'slipway_sessions_running{pod="b"}': "0x60",
    },
    "SlipwaySessionsStartSlowly": {
        f'{BUCKETS}{{le="5"}}': "0+10x60",
        f'{BUCKETS}{{le="+Inf"}}': "0+10x60",
    },
    "SlipwaySchedulerCannotAct": {"slipway_session_action_failures_total": "0x30 3x30"},
    "SlipwayClusterUnseen": {'slipway_kubernetes_mirror_age_seconds{resource="pods"}': "55x60"},
    "SlipwayApiServerRefuses": {'slipway_kubernetes_requests_total{status="409"}': "0+60x60"},
    "SlipwayMirrorFilledOften": {'slipway_kubernetes_relists_total{resource="pods"}': "1x60"},
    "SlipwayWarmPoolHeld": {'slipway_warm_pools_held{runtime="r",profile="p"}': "0x60"},
    "SlipwayPodsWaitForNodes": {'slipway_node_pods_waiting{pool="p"}': "2x50 0x10"},
    "SlipwayNodesFail": {'slipway_node_failures_total{pool="p"}': "1x60"},
    # An installation without pools of its own: nobody leads them, and nobody misses it.
    "SlipwayNobodyLooksAfterNodes": {"slipway_node_leader": "0x60", "slipway_node_pools": "0x60"},
    "SlipwayUnseen": {"slipway_outbox_backlog": "0x60"},
    "SlipwayDeadLetters": {
        'slipway_events_handled_total{topic="t",outcome="dead"}': "4x60",
        'slipway_events_handled_total{topic="t",outcome="done"}': "0+100x60",
    },
    "SlipwayOutboxStands": {"slipway_outbox_backlog": "0 7 0 500 0 3 0 9 0x60"},
    "SlipwayOutboxSlow": {
        f'{LAG}{{le="0.25"}}': "0+10x60",
        f'{LAG}{{le="+Inf"}}': "0+10x60",
    },
    "SlipwayRequestsFail": {
        f'{HTTP}{{status="200"}}': "0+1000x60",
        f'{HTTP}{{status="503"}}': "0+1x60",
    },
    "SlipwayPeriodicStepFails": {'slipway_periodic_failures_total{step="s"}': "0x45 2x15"},
    "SlipwayRefusalsJump": {'slipway_security_refused_total{rule="r"}': "0+600x60"},
}
"""Alert → series by which it must not fire."""

SIGNS_OF_LIFE = {
    "SlipwayAccountsGone": 'slipway_outbox_backlog{pod="accounts-1"}',
    "SlipwayGatewayGone": 'slipway_upload_bytes_total{pod="gateway-1"}',
    "SlipwayPackagerGone": 'slipway_package_seconds_count{pod="packager-1"}',
    "SlipwaySchedulerGone": 'slipway_sessions_wanted{pod="scheduler-0"}',
}
"""Alert → what the service tells that it misses."""

for each, sign in SIGNS_OF_LIFE.items():
    alive = dict.fromkeys(SIGNS_OF_LIFE.values(), "0x60")
    # One of two instances ends half-way, and is not missed; in trouble the other ends as well.
    second = sign.replace("pod=", 'instance="other",pod=')
    CALM[each] = {**alive, second: "0x20 stale"}
    TROUBLE[each] = {**alive, second: "0x20 stale", sign: "0x30 stale"}

# One leader of two schedulers goes, and the other takes over.
LEADERS_CHANGE = {
    'slipway_node_leader{pod="a"}': "1x30 0x30",
    'slipway_node_leader{pod="b"}': "0x31 1x29",
    'slipway_node_pools{pod="a"}': "2x60",
    'slipway_node_pools{pod="b"}': "2x60",
}
LEADER_LOST = {
    "slipway_node_leader": "1x20 0x40",
    "slipway_node_pools": "3x60",
}


def firing(folder: Path, work: Path, alert: str, series: dict[str, str]) -> bool:
    """Whether Prometheus' own test of rules finds the alert firing after an hour."""
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "interval": "1m",
        "input_series": inputs,
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": "60m",
                "exp_samples": [{"labels": "{}", "value": 0}],
            }
        ],
    }
    (work / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(folder / "alerts" / f"{name}.yaml") for name in ALERTS],
                "evaluation_interval": "1m",
                "tests": [test],
            }
        )
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(work / "test.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 or re.search(r"got:\s*\[?\{?.*1", said, re.DOTALL), said
    return done.returncode != 0


def test_every_alert_has_its_trouble_and_its_calm(manifests_folder: Path):
    names = {rule["alert"] for name in ALERTS for rule in rules(manifests_folder, name)}

    assert set(TROUBLE) == set(CALM) == names


@pytest.mark.parametrize("alert", TROUBLE)
def test_an_alert_fires_when_there_is_trouble(manifests_folder: Path, tmp_path: Path, alert: str):
    assert firing(manifests_folder, tmp_path, alert, TROUBLE[alert])


@pytest.mark.parametrize("alert", CALM)
def test_an_alert_is_quiet_when_there_is_none(manifests_folder: Path, tmp_path: Path, alert: str):
    assert not firing(manifests_folder, tmp_path, alert, CALM[alert])


def test_nodes_are_missed_whose_leader_is_lost_and_not_when_another_leads(
    manifests_folder: Path, tmp_path: Path
):
    alert = "SlipwayNobodyLooksAfterNodes"

    assert firing(manifests_folder, tmp_path, alert, LEADER_LOST)
    assert not firing(manifests_folder, tmp_path, alert, LEADERS_CHANGE)


@pytest.mark.parametrize("alert", SIGNS_OF_LIFE)
def test_a_service_that_is_gone_is_named_alone_and_not_when_all_are_unseen(
    manifests_folder: Path, tmp_path: Path, alert: str
):
    for other in SIGNS_OF_LIFE.keys() - {alert} | {"SlipwayUnseen"}:
        assert not firing(manifests_folder, tmp_path, other, TROUBLE[alert])
    assert not firing(manifests_folder, tmp_path, alert, TROUBLE["SlipwayUnseen"])
