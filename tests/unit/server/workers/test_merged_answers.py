"""Merged answers of several workers."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from konnectivity_server.workers import merged_answers

ONE = """\
# HELP k_dials Dials.
# TYPE k_dials counter
k_dials{result="ok"} 3
k_dials{result="failed"} 1
# HELP k_seconds Time.
# TYPE k_seconds histogram
k_seconds_bucket{le="0.1"} 2
k_seconds_bucket{le="+Inf"} 3
k_seconds_sum 0.75
k_seconds_count 3
# HELP k_certificate_expiry_timestamp_seconds When.
# TYPE k_certificate_expiry_timestamp_seconds gauge
k_certificate_expiry_timestamp_seconds{use="agents"} 2000
"""
OTHER = """\
# HELP k_dials Dials.
# TYPE k_dials counter
k_dials{result="ok"} 4
# HELP k_only_here One.
# TYPE k_only_here gauge
k_only_here 1.5
# HELP k_seconds Time.
# TYPE k_seconds histogram
k_seconds_bucket{le="0.1"} 1
k_seconds_bucket{le="+Inf"} 1
k_seconds_sum 0.25
k_seconds_count 1
# HELP k_certificate_expiry_timestamp_seconds When.
# TYPE k_certificate_expiry_timestamp_seconds gauge
k_certificate_expiry_timestamp_seconds{use="agents"} 1000
"""


def test_amounts_are_added_and_the_earliest_expiry_counts():
    merged = merged_answers.metrics([ONE, OTHER])
    lines = merged.splitlines()
    assert 'k_dials{result="ok"} 7' in lines
    assert 'k_dials{result="failed"} 1' in lines
    assert 'k_seconds_bucket{le="+Inf"} 4' in lines
    assert "k_seconds_sum 1" in lines
    assert "k_only_here 1.5" in lines
    assert 'k_certificate_expiry_timestamp_seconds{use="agents"} 1000' in lines
    assert merged.count("# TYPE k_dials counter") == 1
    assert {each.name for each in text_string_to_metric_families(merged)} >= {"k_dials", "k_seconds", "k_only_here"}


def test_what_each_may_use_is_added_like_what_each_uses():
    """A share of all files or of all memory is a share of the sum over the workers."""
    one = """\
# HELP k_buffer_budget_bytes Budget.
# TYPE k_buffer_budget_bytes gauge
k_buffer_budget_bytes{scope="process"} 256
k_buffer_budget_bytes{scope="tunnel"} 64
k_buffer_budget_bytes{scope="connection"} 1
# HELP process_max_fds Files.
# TYPE process_max_fds gauge
process_max_fds 1024
# HELP process_open_fds Files.
# TYPE process_open_fds gauge
process_open_fds 100
"""
    lines = merged_answers.metrics([one, one]).splitlines()
    assert {"process_max_fds 2048", "process_open_fds 200"} <= set(lines)
    assert 'k_buffer_budget_bytes{scope="process"} 512' in lines
    assert 'k_buffer_budget_bytes{scope="tunnel"} 64' in lines  # budget of one agent, the same in every worker
    assert 'k_buffer_budget_bytes{scope="connection"} 1' in lines


def test_the_build_is_not_added_up():
    """All workers run the same build, so the gauge is 1 for all of them together."""
    one = '# TYPE k_server_build_info gauge\nk_server_build_info{version="1",build="compiled"} 1\n'
    one = f"# HELP k_server_build_info Build.\n{one}"
    assert 'k_server_build_info{version="1",build="compiled"} 1' in merged_answers.metrics([one, one]).splitlines()


def test_one_exposition_is_left_as_it_is():
    by_name = sorted(ONE.splitlines())
    assert sorted(merged_answers.metrics([ONE]).splitlines()) == by_name


def test_lists_are_joined_and_say_whose_their_members_are():
    assert merged_answers.documents([[{"id": "a"}], [{"id": "b"}]]) == [
        {"id": "a", "worker": 0},
        {"id": "b", "worker": 1},
    ]


def test_numbers_are_added_and_other_things_are_the_first_ones():
    documents = [
        {"n": 1, "ready": True, "in": {"x": 1.5}, "id": "s-0"},
        {"n": 2, "ready": True, "in": {"x": 1}, "id": "s-1"},
    ]
    assert merged_answers.documents(documents) == {"n": 3, "ready": True, "in": {"x": 2.5}, "id": "s-0"}


def test_rows_of_all_workers_in_one_order_and_no_more_than_asked_for():
    def answer(total, *ages):
        rows = [{"age": age, "agent": None} for age in ages]
        return {"total": total, "matching": len(ages), "sort": "-age", "limit": 3, "connections": rows}

    merged = merged_answers.listed([answer(10, 9, 2, 1), answer(5, 7, 3)], "connections")
    assert [(row["age"], row["worker"]) for row in merged.pop("connections")] == [(9, 0), (7, 1), (3, 1)]
    assert merged == {"total": 15, "matching": 5, "sort": "-age", "limit": 3}


def worker(index, ready=True, **series):
    return {
        "id": f"s-{index}",
        "version": "1",
        "uptime": 10.0 + index,
        "ready": ready,
        "not_ready": None if ready else "no agent",
        "strategies": ["default"],
        "agents": {"streams": 2},
        "memory": {"buffered_bytes": 5, "tunnel_buffer_budget_bytes": 64},
        "certificates": [{"end": "agents"}],
        "history": {"interval": 1.0, "series": series},
        "dial_failures": {"by_reason": {"no_agent": 1}, "recent": [{"ago": 5 - index}, {"ago": 9}]},
        "agents_gone": [{"id": "a", "ago": 3 - index}],
    }


def test_a_server_at_a_glance():
    one, other = worker(0, dials=[1, 2, 3], agents=[]), worker(1, ready=False, dials=[10], agents=[])
    merged = merged_answers.overview([one, other], "s")
    assert (merged["id"], merged["uptime"], merged["ready"], merged["not_ready"]) == ("s", 11.0, False, "no agent")
    assert merged["agents"] == {"streams": 4}
    assert merged["memory"] == {"buffered_bytes": 10, "tunnel_buffer_budget_bytes": 64}
    assert merged["history"] == {"interval": 1.0, "series": {"dials": [1, 2, 13], "agents": []}}
    assert merged["dial_failures"]["by_reason"] == {"no_agent": 2}
    assert [(row["ago"], row["worker"]) for row in merged["dial_failures"]["recent"]] == [
        (4, 1),
        (5, 0),
        (9, 0),
        (9, 1),
    ]
    assert [row["worker"] for row in merged["agents_gone"]] == [1, 0]
    assert merged["certificates"] == [{"end": "agents"}]
    assert [row["id"] for row in merged["workers"]] == ["s-0", "s-1"]


def test_ready_is_who_has_all_workers_ready():
    ready, silent = (200, "ok"), (500, "no proxy agent answers")
    assert merged_answers.readiness([ready, ready], verbose=False) == ready
    assert merged_answers.readiness([ready, silent], verbose=False) == silent
    assert merged_answers.readiness([], verbose=False)[0] == 500
    status, text = merged_answers.readiness(
        [(200, "[+]agents ok\ncheck passed\n"), (500, "[-]agents failed\n")], verbose=True
    )
    assert status == 500
    assert text == "worker 0: [+]agents ok\nworker 0: check passed\nworker 1: [-]agents failed\n"


def test_the_condition_is_that_of_the_worker_that_is_worst_off():
    values = [{"conditions": [{"status": status}]} for status in ("True", "False", "Unknown")]
    assert merged_answers.conditions(values) == values[1]
    assert merged_answers.conditions(values[::2]) == values[2]
    name = "konnectivity_network_proxy_server_data_plane_available"
    texts = [f"# HELP {name} It.\n# TYPE {name} gauge\n{name} {value}\n" for value in (1, 0)]
    assert f"{name} 0\n" in merged_answers.metrics(texts)


def test_each_worker_serves_the_same_tenants():
    text = """\
# HELP k_server_tenants Tenants.
# TYPE k_server_tenants gauge
k_server_tenants{state="ready"} 3
# HELP k_buffer_budget_bytes Budget.
# TYPE k_buffer_budget_bytes gauge
k_buffer_budget_bytes{tenant="a",scope="tunnel"} 5
k_buffer_budget_bytes{tenant="a",scope="process"} 7
"""
    lines = merged_answers.metrics([text, text]).splitlines()
    assert 'k_server_tenants{state="ready"} 3' in lines
    assert 'k_buffer_budget_bytes{tenant="a",scope="tunnel"} 5' in lines
    assert 'k_buffer_budget_bytes{tenant="a",scope="process"} 14' in lines
