"""Moves FILE into DIR between two sessions of libtorrent on loopback.

Prints {"create_s": seconds to hash the file, "fetch_s": seconds until the other
session has all pieces}. Called by the transfer benchmark.
"""

import json
import os
import sys
import time

import libtorrent as lt

POLL_S = 0.005
SETTINGS = {
    "alert_mask": 0,
    "allow_multiple_connections_per_ip": True,
    "enable_dht": False,
    "enable_incoming_utp": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_upnp": False,
    "listen_interfaces": "127.0.0.1:0",
    # As much in flight as its options allow, so that the link is the limit.
    "max_allowed_in_request_queue": 5000,
    "max_out_request_queue": 1500,
    "send_buffer_watermark": 16 << 20,
    "send_buffer_watermark_factor": 150,
    "unchoke_slots_limit": -1,
}


def wait_until(condition):
    while not condition():
        time.sleep(POLL_S)


def main(path, directory):
    source = os.path.dirname(path)
    started = time.monotonic()
    files = lt.file_storage()
    lt.add_files(files, path)
    torrent = lt.create_torrent(files, 1 << 20, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, source)
    encoded = lt.bencode(torrent.generate())
    created = time.monotonic()

    def info():
        return lt.torrent_info(lt.bdecode(encoded))

    seed, leech = lt.session(SETTINGS), lt.session(SETTINGS)
    wait_until(lambda: seed.listen_port() and leech.listen_port())
    seeding = seed.add_torrent(
        {"ti": info(), "save_path": source, "flags": lt.torrent_flags.seed_mode}
    )
    wait_until(lambda: seeding.status().is_seeding)
    leeching = leech.add_torrent({"ti": info(), "save_path": directory})
    asked = time.monotonic()
    leeching.connect_peer(("127.0.0.1", seed.listen_port()))
    wait_until(lambda: leeching.status().is_seeding)
    ended = time.monotonic()
    print(json.dumps({"create_s": created - started, "fetch_s": ended - asked}), flush=True)
    # The sessions would take seconds to close.
    os._exit(0)


main(os.path.abspath(sys.argv[1]), sys.argv[2])
