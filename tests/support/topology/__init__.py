"""The ways in which people run Redis, each started for real on the loopback interface.

One server with TLS, with an ACL user or on a unix socket; Sentinel; Cluster. They are context managers like
:class:`RedisServer`; :func:`pointed_at` leads the settings to any of them. Start them from the main thread: a server
dies with the thread that started it.
"""

from __future__ import annotations

from tests.support.topology.acl import AclServer, acl_server
from tests.support.topology.asking import ask
from tests.support.topology.binaries import Binary, find_binaries, tls_binary
from tests.support.topology.cluster import Cluster, cluster_client
from tests.support.topology.pointing import PATIENT, pointed_at, settings_for
from tests.support.topology.sentinel import Sentinels, SentinelServer
from tests.support.topology.tls import Certificates, make_certificates, tls_server
from tests.support.topology.unix import unix_server

__all__ = [
    "PATIENT",
    "AclServer",
    "Binary",
    "Certificates",
    "Cluster",
    "SentinelServer",
    "Sentinels",
    "acl_server",
    "ask",
    "cluster_client",
    "find_binaries",
    "make_certificates",
    "pointed_at",
    "settings_for",
    "tls_binary",
    "tls_server",
    "unix_server",
]
