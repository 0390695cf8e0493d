"""Three output formats of the commands."""

from __future__ import annotations

import json

import yaml

from konnectivity.tool.cli import output

ROWS = [{"name": "a", "not_after": None, "sans": ["x", "y"]}, {"name": "long name", "not_after": "2030", "sans": []}]


def test_a_table_has_heads_and_aligned_columns(capsys):
    output.show(ROWS, output.TABLE)
    assert capsys.readouterr().out == (
        "NAME       NOT AFTER  SANS\na          -          x,y\nlong name  2030       -\n"
    )


def test_a_table_may_show_some_columns_only(capsys):
    output.show([{"ok": True, "why": "it is"}, {"ok": False}], output.TABLE, ["ok"])
    assert capsys.readouterr().out == "OK\nyes\nno\n"


def test_json_and_yaml_say_the_same(capsys):
    output.show(ROWS, output.JSON)
    as_json = json.loads(capsys.readouterr().out)
    output.show(ROWS, output.YAML)
    assert as_json == yaml.safe_load(capsys.readouterr().out) == ROWS


def test_kubernetes_objects_are_documents_of_their_own(capsys):
    objects = [{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Secret"}]
    output.show(objects, output.YAML)
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == objects
