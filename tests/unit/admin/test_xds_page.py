"""/xds and /xds/history."""

import json
import re

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2

from proxeny.xds.rejection import RefusedResource, UpdateRejected
from proxeny.xds.resource import DecodedResource

CLUSTER = "envoy.config.cluster.v3.Cluster"
LISTENER = "envoy.config.listener.v3.Listener"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def cluster(name, **fields):
    return DecodedResource(name, None, "", None, cluster_pb2.Cluster(name=name, **fields).SerializeToString())


@pytest.fixture
def record(server):
    """Clusters from ADS, of which one update was refused in part; listeners that cannot be had."""
    made = server.xds_record
    clusters = made.subscription(CLUSTER, "ads")
    clusters.interested(None)
    clusters.updated([cluster("a"), cluster("b")], None, "1", 0.5, None)
    error = UpdateRejected("Error adding/updating cluster(s) b: no", [RefusedResource("b", "no")])
    clusters.updated([cluster("a", alt_stat_name="x"), cluster("b", alt_stat_name="y")], None, "2", 0.25, error)
    listeners = made.subscription(LISTENER, "/<lds>")
    listeners.interested(["l\n", "m"])
    listeners.failed("connection failure: gone")
    return made


def shown(get, path):
    status, body = get(path)
    assert status == 200
    return TIME.sub("T", body)


def test_resources(get, record):
    assert shown(get, "/xds") == (
        f"{CLUSTER} from ads: everything, 2 updates, the last of 14 bytes in 250.0 ms\n"
        "  accepted version '1' at T\n"
        "  rejected version '2' at T: Error adding/updating cluster(s) b: no\n"
        "    a: version '2', 7 bytes since T\n"
        "    b: version '1', 3 bytes since T\n"
        "    b: version '2' refused at T: no\n"
        f"{LISTENER} from /<lds>: 2 by name, no update yet\n"
        "  failed at T: connection failure: gone\n"
        "    'l\\n': asked for, has not come\n"
        "    m: asked for, has not come\n"
    )


def test_resources_as_json(get, record):
    kinds = json.loads(shown(get, "/xds?format=json"))["types"]
    assert kinds == [
        {
            "type": CLUSTER, "source": "ads", "wildcard": True, "subscriptions": 1, "updates": 2,
            "accepted": {"version": "1", "time": "T"},
            "rejected": {"version": "2", "time": "T", "details": "Error adding/updating cluster(s) b: no"},
            "last_update": {"bytes": 14, "apply_ms": 250},
            "resources": [
                {"name": "a", "version": "2", "updated": "T", "bytes": 7},
                {
                    "name": "b", "version": "1", "updated": "T", "bytes": 3,
                    "refused": {"version": "2", "time": "T", "details": "no"},
                },
            ],
        },
        {
            "type": LISTENER, "source": "/<lds>", "wildcard": False, "subscriptions": 1, "updates": 0,
            "failed": {"version": "", "time": "T", "details": "connection failure: gone"},
            "resources": [{"name": "l\n", "asked_for": True}, {"name": "m", "asked_for": True}],
        },
    ]  # fmt: skip


def test_a_part_of_it(get, record):
    assert shown(get, "/xds?type=listener").startswith(LISTENER)
    assert [line for line in shown(get, "/xds?type=Cluster&name=a").splitlines() if line.startswith("    ")] == [
        "    a: version '2', 7 bytes since T"
    ]
    assert json.loads(get("/xds?type=none&format=json")[1]) == {}
    assert get("/xds?type=none") == (200, "nothing is discovered\n")


def test_history(get, record):
    assert shown(get, "/xds/history") == (
        f"#3 T failed of {LISTENER} from /<lds>\n"
        "    connection failure: gone\n"
        f"#2 T rejected version '2' of {CLUSTER} from ads: 1 changed, 1 refused (14 bytes in 250.0 ms)\n"
        "    Error adding/updating cluster(s) b: no\n"
        "  ~ a\n"
        "  ! b: no\n"
        f"#1 T accepted version '1' of {CLUSTER} from ads: 2 added (6 bytes in 500.0 ms)\n"
        "  + a\n"
        "  + b\n"
    )
    assert shown(get, "/xds/history?name=a&diff").splitlines()[2:4] == ["  ~ a", '      + alt_stat_name: "x"']
    assert shown(get, "/xds/history?event=2").splitlines()[-1] == '      + alt_stat_name: "y"'
    assert get("/xds/history?type=none") == (200, "no updates yet\n")


@pytest.mark.parametrize("number", ["7", "x", "²", "-1", "9" * 5000])
def test_no_such_event(get, record, number):
    assert get(f"/xds/history?event={number}") == (404, f"there is no event {number} (any more)\n")


def test_history_as_json(get, record):
    failed, rejected, accepted = json.loads(shown(get, "/xds/history?format=json"))["events"]
    assert (failed["number"], failed["outcome"], failed["changes"]) == (3, "failed", [])
    assert rejected["changes"] == [{"kind": "changed", "name": "a"}, {"kind": "refused", "name": "b", "details": "no"}]
    assert (accepted["version"], accepted["bytes"], accepted["apply_ms"]) == ("1", 6, 500)
    (event,) = json.loads(get("/xds/history?event=2&format=json&name=a")[1])["events"]
    assert event["changes"] == [{"kind": "changed", "name": "a", "diff": ['+ alt_stat_name: "x"']}]


def test_pages_for_browsers_run_nothing(get, record):
    for path in "/xds", "/xds/history":
        body = get(f"{path}?format=html")[1]
        assert "/&lt;lds&gt;" in body
        assert "<lds>" not in body
        assert body.endswith("</pre>\n</body>\n</html>\n")


def test_large_diffs_are_cut(get, server):
    subscription = server.xds_record.subscription(CLUSTER, "ads")
    names = [str(number) for number in range(1000)]
    for version, group in ("1", []), ("2", names):
        message = cluster_pb2.Cluster(name="a")
        message.dns_resolvers.extend([address_pb2.Address(**{"pipe": {"path": name}}) for name in group])
        one = DecodedResource("a", None, "", None, message.SerializeToString())
        subscription.updated([one], None, version, 0, None)
    lines = get("/xds/history?event=2")[1].splitlines()
    assert (len(lines), lines[-1]) == (203, "      ...")
