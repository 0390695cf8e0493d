"""Tests of the texts that judge a tenant's options: they name options as a tenant's file does, and offer no others."""

from __future__ import annotations

import itertools
import re

from konnectivity.runtime.options import BOOL, declared, read
from konnectivity_server import option_rules
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.tenant_options import ALLOWED, TenantOptions, as_in_file, inherited

SERVER = (
    "--tenants=/tmp --cluster-cert=/dev/null --cluster-key=/dev/null --server-cert=/dev/null --server-key=/dev/null",
    "--tenants=/tmp --cluster-cert=/dev/null --cluster-key=/dev/null --server-port=0",
)
GOOD = {"server_names": ("a.example",), "cluster_ca_cert": "ca", "server_ca_cert": "other-ca"}
SPECIAL = {
    "agent_identity": ("certificate-san", "token"),
    "ready_when": ("path",),
    "lease_label": ("no label",),
    "mode": ("http-connect",),
    "connection_window_max": (1,),
    "probe": ((),),
    "admin_token_sha256": (("a-token-in-place-of-its-digest",), ("0" * 64,)),
}
NAMES = {each.flag for each in declared(TenantOptions)}


def values_of(option):
    """Return values of an option that may break a rule."""
    if option.field in SPECIAL:
        return SPECIAL[option.field]
    if option.kind is BOOL:
        return (True, False)
    return ("", "x") if isinstance(option.default, str) else ((), ("x",)) if isinstance(option.default, tuple) else (0,)


def tenant(server, **values):
    process, problems = read(ServerOptions, server.split(), {})
    assert problems == []
    return TenantOptions(**{**inherited(process), **GOOD, **values}, sources=dict.fromkeys(values, "file"))


def all_problems():
    """Yield the errors of each option, and of each two options, with a value that may break a rule."""
    choices = [
        {each.field: value} for each in declared(TenantOptions) if each.field in ALLOWED for value in values_of(each)
    ]
    for server in SERVER:
        base = tenant(server)
        known = {each.field: getattr(base, each.field) for each in declared(TenantOptions)}
        for one, other in itertools.combinations_with_replacement(choices, 2):
            yield TenantOptions(**{**known, **one, **other}, sources=dict.fromkeys((*one, *other), "file"))


def test_no_text_about_a_tenant_names_an_option_as_a_flag_or_one_that_its_file_may_not_have():
    found, broken = set(), set()
    for options in all_problems():
        found |= set(options.problems())
        broken |= {rule for rule in option_rules.RULES_OF_TENANT if list(rule(options))}
    assert broken == set(option_rules.RULES_OF_TENANT)
    assert len(found) > 20
    assert [text for text in found if "--" in text] == []
    foreign = {name for name in NAMES if name.replace("-", "_") not in ALLOWED}
    named = {
        (name, text) for text in found for name in re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)+", text) if name in foreign
    }
    assert named == set()


def test_no_text_quotes_what_may_be_a_token():
    found = tenant(SERVER[0], admin_token_sha256=("a-token-in-place-of-its-digest",)).problems()
    assert len(found) == 2, "no digest, and a server without tokens"
    assert "in-place" not in " ".join(found)


def test_only_names_of_options_of_a_tenant_lose_their_dashes():
    assert (
        as_in_file("--frontend-policy: no --such-flag, --kubeconfig") == "frontend-policy: no --such-flag, kubeconfig"
    )
